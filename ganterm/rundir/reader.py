"""What a run directory tells of the run so far: its events and its diagnosis. No torch.

A resume that discards steps, and a rewind, begin another branch. Readers take the newest branch:
the rows and events behind the step it began at are what was abandoned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ganterm.core.errors import UserError
from ganterm.core.events import BRANCHING, AlarmEvent, ErrorEvent, Event, from_table
from ganterm.core.json_text import parse_json
from ganterm.core.text import clean, clean_data
from ganterm.rundir.columns import ColumnFiles
from ganterm.system.files import Folder, in_words

LONGEST_LINE = 1 << 24
"""Bytes of a line of a log; one that names thousands of files has a megabyte."""
MOST_EVENTS = 1 << 28
"""Bytes of events.jsonl, a million events."""
MOST_ROUNDS = 1 << 26
"""Bytes of diagnosis.jsonl that are read, its newest: some 50,000 rounds."""


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
        if isinstance(event, ErrorEvent):
            return event.message
        if isinstance(event, AlarmEvent) and event.raised:
            return event.message
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
        begins.append(isinstance(event, BRANCHING) and event.branch > branch)
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
    begun = [(e.branch, e.step) for e in all_events(run) if isinstance(e, BRANCHING)]
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
    return from_table(table) if isinstance(table, dict) else None


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
