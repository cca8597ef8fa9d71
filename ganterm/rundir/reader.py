"""What a run directory tells of the run so far: its events and its diagnosis. No torch.

A resume that discards steps, and a rewind, begin another branch. Readers take the newest branch:
the rows and events behind the step it began at are what was abandoned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganterm.core.controls import KNOBS, ControlError
from ganterm.core.errors import UserError
from ganterm.core.json_text import parse_json
from ganterm.core.snapshot import Event
from ganterm.core.text import clean, clean_data
from ganterm.rundir.columns import ColumnFiles
from ganterm.system.files import Folder, in_words

LONGEST_LINE = 1 << 24
"""Bytes of a line of a log; one that names thousands of files has a megabyte."""
MOST_EVENTS = 1 << 28
"""Bytes of events.jsonl, a million events."""
MOST_ROUNDS = 1 << 26
"""Bytes of diagnosis.jsonl that are read, its newest: some 50,000 rounds."""

_HEAD = ("step", "branch", "time", "kind")
_NEEDED = {
    "change": ("key", "from", "to", "by"),
    "schedule": ("key", "from", "to", "by"),
    "refused": ("key", "to", "reason"),
    "alarm": ("name", "state", "message"),
    "error": ("message",),
    "note": ("text",),
    "warning": ("text",),
    "stop": ("reason",),
    "checkpoint": ("path",),
    "resume": ("checkpoint", "differs"),
    "rewind": ("checkpoint", "from_step", "changed"),
}
"""What watchers read of an event, by its kind."""
BRANCHING = frozenset({"resume", "rewind"})
"""Kinds of events that another branch may begin with."""


def read_events(run: Path) -> list[Event]:
    """The events of the newest branch, oldest first; a torn or foreign line is passed over.

    UserError where the log cannot be read.
    """
    return newest_branch(all_events(run))


def all_events(run: Path) -> list[Event]:
    """The events of all branches, as ``read_events`` tells those of the newest."""
    lines = _lines(run, "events.jsonl", MOST_EVENTS)
    return [event for line in lines if (event := event_of(line)) is not None]


def cause(events: Sequence[Event]) -> str:
    """Why a run has failed, by its newest error, else by its newest alarm."""
    for event in reversed(events):
        if event.kind == "error" or (event.kind == "alarm" and event.data["state"] == "raised"):
            return str(event.data["message"])
    return "its journal does not say why"


def _lines(run: Path, name: str, most: int, newest: bool = False) -> Iterator[bytes]:
    """The lines of a log, none where it is missing; of one that has more than ``most`` bytes the
    ``newest``, else UserError."""
    try:
        with Folder.at(run) as folder:
            size = folder.size(name)
            if size > most and not newest:
                raise UserError(
                    f"{clean(run / name)}: {size:,} bytes; ganterm reads {most:,} at most"
                )
            yield from folder.lines(name, LONGEST_LINE, max(0, size - most))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def newest_branch(events: Iterable[Event]) -> list[Event]:
    """The events without what a return to an earlier step abandoned."""
    every, begins, branch = tuple(events), [], 0
    for event in every:
        begins.append(event.kind in BRANCHING and event.branch > branch)
        branch = max(branch, event.branch)
    kept: list[Event] = []
    last: float = math.inf
    for event, begins_branch in zip(reversed(every), reversed(begins), strict=True):
        if event.step <= last:
            kept.append(event)
        if begins_branch:
            last = min(last, event.step)
    return kept[::-1]


def read_diagnosis(run: Path, last: int) -> list[dict[str, Any]]:
    """What the rounds of exams up to step ``last`` found, on the newest branch, oldest first.

    A torn or foreign line is passed over, and so is what lies before the newest ``MOST_ROUNDS``.
    UserError where the log cannot be read.
    """
    lines = _lines(run, "diagnosis.jsonl", MOST_ROUNDS, newest=True)
    rounds = [found for line in lines if (found := _round(line)) is not None]
    begun = [(e.branch, e.step) for e in all_events(run) if e.kind in BRANCHING]
    return [
        found
        for found in rounds
        if found["step"] <= last
        and all(found["step"] <= step for branch, step in begun if branch > found["branch"])
    ]


def newest_number(run: Path) -> int:
    """The highest number that a branch of the run has in its rows and events."""
    branches = ColumnFiles(run).read("branch.i4")
    highest = int(branches.max()) if len(branches) else 0
    return max([highest, *(event.branch for event in read_events(run))])


def event_of(line: bytes) -> Event | None:
    """The event of a line, None where a watcher could not show it."""
    try:
        table = clean_data(parse_json(line))
    except ValueError:
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
        table = parse_json(line)
    except ValueError:
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
        files = data.get("files")
        return isinstance(data.get("text"), str) or (
            isinstance(files, list) and bool(files) and "why" in data
        )
    if kind == "checkpoint":
        return isinstance(data.get("cfid", 0.0), int | float)
    if kind == "resume":
        return isinstance(data["differs"], list) and all(
            isinstance(d, str) for d in data["differs"]
        )
    if kind == "rewind":
        whole = type(data["from_step"]) is int and isinstance(data["checkpoint"], str)
        return whole and _are_changes(data["changed"])
    if kind in ("change", "schedule"):
        return _is_change(data["key"], data)
    return True


def _are_changes(changed: Any) -> bool:
    """Whether this says of controls, by name, what they were and are."""
    return isinstance(changed, dict) and all(
        isinstance(ends, dict) and _is_change(name, ends) for name, ends in changed.items()
    )


def _is_change(name: str, ends: Mapping[str, Any]) -> bool:
    """Whether a control can go from one of these values to the other."""
    try:
        KNOBS[name].check(ends["from"])
        KNOBS[name].check(ends["to"])
    except (ControlError, KeyError, TypeError):
        return False
    return True
