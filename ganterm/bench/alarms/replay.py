"""The rules over what was kept of a run: which alarms they raise and clear, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import convert

from ganterm.bench.alarms.settings import Run, controls_at
from ganterm.core.events import AlarmState
from ganterm.core.findings import Alarm, Diagnosis, Modes, ModeTrail, Reading, Series
from ganterm.core.history import History
from ganterm.core.json_text import parse_json
from ganterm.core.metrics import METRICS
from ganterm.diagnosis.rule import Record, Traits
from ganterm.training.alarms import Alarms


class Told(NamedTuple):
    """An alarm from ``raised`` on to ``cleared``, None where it lasted to the end."""

    name: str
    raised: int
    cleared: int | None
    since: int
    message: str
    severity: str


def replay(run: Run, out: Path, hidden: bool) -> list[Told]:
    """All alarms of a run; ``hidden``: as if its data had no labels."""
    told: list[Told] = []
    now = 0

    def tell(alarm: Alarm, change: AlarmState) -> None:
        if change == "raised":
            known = (alarm.since, alarm.message, alarm.severity)
            told.append(Told(alarm.name, alarm.raised, None, *known))
            return
        place = max(at for at, known in enumerate(told) if known.name == alarm.name)
        told[place] = told[place]._replace(cleared=now)

    alarms = Alarms(tell)
    for record in records(run, out, hidden):
        now = record.step
        alarms.judge(record)
    return told


def records(run: Run, out: Path, hidden: bool) -> Iterator[Record]:
    """What the rules are given after each round."""
    folder = out / run.name
    preset = run.setting.build(run.seed)
    rows = np.load(folder / "rows.npy")
    known = parse_json((folder / "about.json").read_bytes())["traits"]
    traits = convert(known, Traits)
    history, diagnosis = History(tuple(METRICS)), Diagnosis()
    log = folder / ("hidden.jsonl" if hidden else "rounds.jsonl")
    for line in log.read_bytes().splitlines():
        told = parse_json(line)
        step = told["step"]
        history.append(rows[history.view.rows : step])
        diagnosis = _with(diagnosis, told)
        yield Record(step, controls_at(preset, step), history.view, diagnosis, traits)


def _with(known: Diagnosis, told: dict[str, Any]) -> Diagnosis:
    """A diagnosis after one more round."""
    step = told["step"]
    readings, series = dict(known.readings), dict(known.series)
    for name, value in told["readings"].items():
        read = float("nan") if value is None else value
        readings[name] = Reading(read, step)
        steps, values = series.get(name, Series(np.empty(0, np.int64), np.empty(0, np.float32)))
        with np.errstate(over="ignore"):
            series[name] = Series(np.append(steps, step), np.append(values, np.float32(read)))
    modes, trail = known.modes, known.mode_trail
    if "modes" in told:
        raw = told["modes"]
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
        known, step=step, readings=readings, series=series, modes=modes, mode_trail=trail
    )
