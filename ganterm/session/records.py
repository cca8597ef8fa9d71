"""What a run directory tells of the run so far: its series and its events. No torch.

A resume that discards steps begins another branch. Readers take the newest branch: the rows and
events behind the step it began at are what was abandoned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ganterm.controls import KNOBS, ControlError
from ganterm.session.history import History
from ganterm.session.metrics import METRICS
from ganterm.session.protocol import Event

BLOCK = 1 << 18
"""Rows that are read at a time."""

_HEAD = ("step", "branch", "time", "kind")
_NEEDED = {
    "change": ("key", "from", "to", "by"),
    "schedule": ("key", "from", "to", "by"),
    "refused": ("key", "to", "reason"),
    "alarm": ("name", "state", "message"),
    "error": ("message",),
    "note": ("text",),
    "stop": ("reason",),
    "data": ("files", "why"),
    "checkpoint": ("path",),
    "resume": ("checkpoint", "differs"),
}
"""What watchers read of an event, by its kind."""


def read_history(run: Path, every: int, last: int) -> History:
    """The series up to step ``last``, of a run with a row each ``every`` steps.

    From the columns of ``history/``, of the newest branch; where a row is missing there is no
    value. Columns of different lengths, as a kill leaves them, count as far as the shortest.
    """
    folder = run / "history"
    history = History(tuple(METRICS), every, every)
    steps = _column(folder / "step.i8", "<i8")
    columns = {name: _column(folder / f"{name}.f4", "<f4") for name in METRICS}
    steps = steps[: min([len(steps), *(len(c) for c in columns.values() if len(c))])]
    rising = np.flatnonzero((steps >= every) & (steps % every == 0) & ~_abandoned(steps))
    for first in range(every, last + 1, BLOCK * every):
        count = min(BLOCK, (last - first) // every + 1)
        start, stop = np.searchsorted(steps[rising], (first, first + count * every))
        there = rising[start:stop]
        places = (steps[there] - first) // every
        rows = np.full((len(METRICS), count), np.nan, np.float32)
        for row, column in zip(rows, columns.values(), strict=True):
            if len(column):
                row[places] = column[there]
        history.append(rows.T)
    return history


def read_events(run: Path) -> list[Event]:
    """The events of the newest branch, oldest first; a torn or foreign line is passed over."""
    return newest_branch(_all_events(run))


def _all_events(run: Path) -> list[Event]:
    path = run / "events.jsonl"
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    return [event for line in lines if (event := event_of(line)) is not None]


def newest_branch(events: Iterable[Event]) -> list[Event]:
    """The events without what a resume to an earlier step abandoned."""
    kept: list[Event] = []
    branch = 0
    for event in events:
        if event.kind == "resume" and event.branch > branch:
            kept = [earlier for earlier in kept if earlier.step <= event.step]
        branch = max(branch, event.branch)
        kept.append(event)
    return kept


def read_diagnosis(run: Path, last: int) -> list[dict[str, Any]]:
    """What the rounds of exams up to step ``last`` found, on the newest branch, oldest first.

    A torn or foreign line is passed over.
    """
    path = run / "diagnosis.jsonl"
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    rounds = [found for line in lines if (found := _round(line)) is not None]
    begun = [(e.branch, e.step) for e in _all_events(run) if e.kind == "resume"]
    return [
        found
        for found in rounds
        if found["step"] <= last
        and all(found["step"] <= step for branch, step in begun if branch > found["branch"])
    ]


def newest_number(run: Path) -> int:
    """The highest number that a branch of the run has in its rows and events."""
    branches = _column(run / "history" / "branch.i4", "<i4")
    highest = int(branches.max()) if len(branches) else 0
    return max([highest, *(event.branch for event in read_events(run))])


def _abandoned(steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a later row begins again at or before the row's step."""
    if not len(steps):
        return np.zeros(0, bool)
    lowest_later = np.minimum.accumulate(steps[::-1])[::-1]
    return np.append(steps[:-1] >= lowest_later[1:], False)


def _column(path: Path, kind: str) -> NDArray[Any]:
    """A column's whole values, none where the file is missing; read once they are looked at."""
    count = path.stat().st_size // np.dtype(kind).itemsize if path.is_file() else 0
    return np.memmap(path, kind, "r", shape=(count,)) if count else np.zeros(0, kind)


def event_of(line: bytes) -> Event | None:
    """The event of a line, None where a watcher could not show it."""
    try:
        table = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(table, dict) or not all(name in table for name in _HEAD):
        return None
    step, branch, time, kind = (table.pop(name) for name in _HEAD)
    numbers = type(step) is int and type(branch) is int
    if not numbers or not isinstance(time, str) or not isinstance(kind, str):
        return None
    return Event(step, branch, time, kind, table) if _readable(kind, table) else None


def _round(line: bytes) -> dict[str, Any] | None:
    """What a line of diagnosis.jsonl says, None where it is none."""
    try:
        table = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(table, dict) or not isinstance(table.get("readings"), dict):
        return None
    whole = type(table.get("step")) is int and type(table.get("branch")) is int
    values = table["readings"].values()
    return table if whole and all(v is None or type(v) in (int, float) for v in values) else None


def _readable(kind: str, data: Mapping[str, Any]) -> bool:
    if not all(name in data for name in _NEEDED.get(kind, ())):
        return False
    if not isinstance(data.get("key", ""), str):
        return False
    if kind == "data":
        return isinstance(data["files"], list) and bool(data["files"])
    if kind == "checkpoint":
        return isinstance(data.get("cfid", 0.0), int | float)
    if kind == "resume":
        return isinstance(data["differs"], list) and all(
            isinstance(d, str) for d in data["differs"]
        )
    if kind in ("change", "schedule"):
        try:
            KNOBS[data["key"]].check(data["from"])
            KNOBS[data["key"]].check(data["to"])
        except (ControlError, KeyError, TypeError):
            return False
    return True
