"""A run directory read while another process writes it: its series and events, as they grow."""

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
"""The newest that are kept; so many are drawn in some milliseconds."""


class Follower:
    """The newest branch of a run, as far as it is on the disk; ``look`` reads what is new.

    UserError where its preset cannot be read.
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
        """How many events there were before those that are kept."""

    @property
    def history(self) -> HistoryView:
        """The series so far."""
        return self._history.view

    def look(self) -> None:
        """Read on. What cannot be read now is read later."""
        self._read_rows()
        self._read_events()

    def _read_rows(self) -> None:
        (there,) = self._files.rows("step.i8")
        if 0 < there < self._rows:
            # A resume has cut off what a kill had left unfinished.
            self._rows = 0
        # The step of a row is written last, so its other columns are there.
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
            # What has no end so far is no event; its end will be passed over as a torn line.
            end = len(content)
        whole = content[:end]
        self._offset += end
        parsed = (reader.event_of(line) for line in whole.splitlines())
        new = [event for event in parsed if event is not None]
        begun = [event for event in new if isinstance(event, BRANCHING)]
        if begun:
            self.events = tuple(reader.newest_branch([*self.events, *new]))
            self._cut(begun[-1])
        else:
            self.events = (*self.events, *new)
        if len(self.events) > MOST_EVENTS:
            self.forgotten += len(self.events) - MOST_EVENTS // 2
            self.events = self.events[-(MOST_EVENTS // 2) :]

    def _cut(self, begun: Event) -> None:
        """Show no rows that were abandoned, though the new branch has none yet."""
        newest = self._files.read("branch.i4", max(0, self._rows - 1))
        if begun.step < self._last and len(newest) and newest[-1] < begun.branch:
            self._history = read_history(self._files.run.place(), self._every, begun.step)
            self._last = begun.step


def _record_every(run_directory: Path) -> int:
    """Steps between two rows. Of the whole preset no more is needed, nor loaded and checked."""
    run = find.preset_table(run_directory).get("run", {})
    every = run.get("record_every", 1) if isinstance(run, dict) else None
    if type(every) is not int or not 1 <= every <= MOST_BETWEEN_ROWS:
        right = f"a whole number from 1 to {MOST_BETWEEN_ROWS:,} is needed"
        raise UserError(f"{clean(run_directory / 'preset.toml')}: run.record_every: {right}")
    return every
