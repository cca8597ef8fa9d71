"""Follows a run directory that another process writes: its series and events, as they grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganterm.core.errors import UserError
from ganterm.core.events import BRANCHING, Event
from ganterm.core.history import History, HistoryView
from ganterm.core.limits import MOST_BETWEEN_ROWS
from ganterm.core.metrics import METRICS
from ganterm.core.text import clean
from ganterm.rundir import find, reader
from ganterm.rundir.columns import ColumnFiles, farthest, read_history
from ganterm.system.files import in_words

MOST_EVENTS = 50_000
"""Most events that are kept, the newest ones; drawing so many takes a few milliseconds."""


class Follower:
    """The newest branch of a run, as far as it is on disk; ``look`` reads the new part.

    UserError where the run's preset cannot be read. ``forgotten``: the number of events before
    those that are kept.
    """

    def __init__(self, run: Path) -> None:
        self._every = _record_every(run)
        self._files = ColumnFiles(run)
        self._history = History(tuple(METRICS), self._every, self._every)
        self._rows = 0
        self._last = 0
        self._offset = 0
        self.events: tuple[Event, ...] = ()
        self.forgotten = 0

    @property
    def history(self) -> HistoryView:
        """The series so far."""
        return self._history.view

    def look(self) -> None:
        """Read the new rows and events; UserError where a file cannot be read now."""
        self._read_rows()
        self._read_events()

    def _read_rows(self) -> None:
        (count,) = self._files.rows("step.i8")
        if 0 < count < self._rows:
            # A resume has cut off rows that a kill had left incomplete.
            self._rows = 0
        # A row's step is written last, so its other columns are complete.
        steps = self._files.read("step.i8", self._rows)
        limit = farthest(self._rows + len(steps), self._every)
        possible = steps[(steps > 0) & (steps <= limit)]
        if not len(possible):
            return
        last = int(possible[-1])
        expected = self._last + self._every * np.arange(1, len(steps) + 1)
        if self._rows and np.array_equal(steps, expected):
            rows = np.full((len(METRICS), len(steps)), np.nan, np.float32)
            for row, name in zip(rows, METRICS, strict=True):
                column = self._files.read(f"{name}.f4", self._rows, len(steps))
                row[: len(column)] = column
            self._history.append(rows.T)
        else:
            self._history = read_history(self._files.run.place(), self._every, last)
        self._rows += len(steps)
        self._last = last

    def _read_events(self) -> None:
        try:
            content = self._files.run.read("events.jsonl", reader.LONGEST_LINE, self._offset)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(clean(in_words(error), 400)) from None
        end = content.rfind(b"\n") + 1
        if not end and len(content) > reader.LONGEST_LINE:
            # No event is so long. The rest of this line will be skipped as a torn line.
            end = len(content)
        whole = content[:end]
        self._offset += end
        parsed = (reader.event_of(line) for line in whole.splitlines())
        new = [event for event in parsed if event is not None]
        branches = [event for event in new if isinstance(event, BRANCHING)]
        if branches:
            self.events = tuple(reader.newest_branch([*self.events, *new]))
            self._cut(branches[-1])
        else:
            self.events = (*self.events, *new)
        if len(self.events) > MOST_EVENTS:
            self.forgotten += len(self.events) - MOST_EVENTS // 2
            self.events = self.events[-(MOST_EVENTS // 2) :]

    def _cut(self, start: Event) -> None:
        """Drop abandoned rows at the event that starts a branch, even before its first row."""
        newest = self._files.read("branch.i4", max(0, self._rows - 1))
        if start.step < self._last and len(newest) and newest[-1] < start.branch:
            self._history = read_history(self._files.run.place(), self._every, start.step)
            self._last = start.step


def _record_every(run_directory: Path) -> int:
    """Steps between two rows. The rest of the preset is not validated, which saves time."""
    run = find.preset_table(run_directory).get("run", {})
    every = run.get("record_every", 1) if isinstance(run, dict) else None
    if type(every) is not int or not 1 <= every <= MOST_BETWEEN_ROWS:
        right = f"a whole number from 1 to {MOST_BETWEEN_ROWS:,} is needed"
        raise UserError(f"{clean(run_directory / 'preset.toml')}: run.record_every: {right}")
    return every
