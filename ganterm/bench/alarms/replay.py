"""Replays the rules over a run that was examined: which alarms they raise and clear, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import convert

from ganterm.bench.alarms.settings import Run, controls_at
from ganterm.core.findings import Alarm, Diagnosis, Modes, ModeTrail, Reading, Series
from ganterm.core.history import History
from ganterm.core.json_text import parse_json
from ganterm.core.metrics import METRICS
from ganterm.diagnosis.rule import Record, Traits
from ganterm.training.alarms import Alarms, Change


class AlarmSpan(NamedTuple):
    """An alarm from step ``raised`` to ``cleared``; None if it lasted to the end."""

    name: str
    raised: int
    cleared: int | None
    since: int
    message: str
    severity: str


def replay(run: Run, out: Path, hidden: bool) -> list[AlarmSpan]:
    """All alarms of a run; ``hidden``: as if its data had no labels."""
    spans: list[AlarmSpan] = []
    step = 0

    def on_change(alarm: Alarm, change: Change) -> None:
        if change == "raised":
            details = (alarm.since, alarm.message, alarm.severity)
            spans.append(AlarmSpan(alarm.name, alarm.raised, None, *details))
            return
        place = max(at for at, span in enumerate(spans) if span.name == alarm.name)
        spans[place] = spans[place]._replace(cleared=step)

    alarms = Alarms(on_change)
    for record in records(run, out, hidden):
        step = record.step
        alarms.judge(record)
    return spans


def records(run: Run, out: Path, hidden: bool) -> Iterator[Record]:
    """The records by which rules judge, one after each round of exams."""
    folder = out / run.name
    preset = run.setting.build(run.seed)
    rows = np.load(folder / "rows.npy")
    traits = convert(parse_json((folder / "about.json").read_bytes())["traits"], Traits)
    history, diagnosis = History(tuple(METRICS)), Diagnosis()
    log = folder / ("hidden.jsonl" if hidden else "rounds.jsonl")
    for line in log.read_bytes().splitlines():
        round_ = parse_json(line)
        step = round_["step"]
        history.append(rows[history.view.rows : step])
        diagnosis = _after_round(diagnosis, round_)
        yield Record(step, controls_at(preset, step), history.view, diagnosis, traits)


def _after_round(before: Diagnosis, round_: dict[str, Any]) -> Diagnosis:
    """The diagnosis after one more round of exams."""
    step = round_["step"]
    readings, series = dict(before.readings), dict(before.series)
    for name, json_value in round_["readings"].items():
        value = float("nan") if json_value is None else json_value
        readings[name] = Reading(value, step)
        steps, values = series.get(name, Series(np.empty(0, np.int64), np.empty(0, np.float32)))
        with np.errstate(over="ignore"):
            series[name] = Series(np.append(steps, step), np.append(values, np.float32(value)))
    modes, trail = before.modes, before.mode_trail
    if "modes" in round_:
        raw = round_["modes"]
        arrays = {name: np.array(raw[name], np.float32) for name in ("shares", "expected")}
        modes = Modes(
            step,
            tuple(raw["names"]),
            arrays["shares"],
            arrays["expected"],
            np.array(raw["found"], bool),
            raw["samples"],
            raw["kind"],
        )
        old = trail or ModeTrail(
            np.empty(0, np.int64), np.empty((0, len(modes.shares)), np.float32)
        )
        trail = ModeTrail(
            np.append(old.steps, step), np.concatenate([old.shares, modes.shares[None]])
        )
    return replace(
        before, step=step, readings=readings, series=series, modes=modes, mode_trail=trail
    )
