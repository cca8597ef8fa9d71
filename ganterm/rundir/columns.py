"""The series of a run as they lie in ``history/``: columns of the newest branch. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganterm.core.errors import UserError
from ganterm.core.history import LIMIT, WIDTHS, Buckets, History, Series, summed
from ganterm.core.metrics import METRICS
from ganterm.core.text import clean
from ganterm.system.files import Folder, in_words

MOST_ROWS = 1 << 27
"""Rows of a run: those of a week at 200 steps a second, a gigabyte of step numbers."""
MOST_MISSING = 10**7
"""Rows that may be missing where there are none at all; places are kept for that many."""


class ColumnFiles:
    """The files in ``history/`` of a run, which may be moved meanwhile.

    UserError, here and later, where they cannot be read, or hold more than a run can have.
    """

    def __init__(self, run: Path) -> None:
        with _told():
            self.run = Folder.at(run)

    def rows(self, *names: str) -> list[int]:
        """How many whole values each column has, 0 where the file is missing."""
        found = dict.fromkeys(names, 0)
        with _told(), suppress(FileNotFoundError), self.run.folder("history") as history:
            for name in names:
                with suppress(FileNotFoundError):
                    found[name] = _bounded(history, name)
        return list(found.values())

    def read(self, name: str, start: int = 0, count: int = -1) -> NDArray[Any]:
        """A column's whole values from ``start`` on, none where the file is missing."""
        kind = _kind(name)
        with _told(), suppress(FileNotFoundError), self.run.folder("history") as history:
            at = min(start, _bounded(history, name)) * kind.itemsize
            with os.fdopen(history.open(name), "rb") as file:
                return np.fromfile(file, kind, count, offset=at)
        return np.zeros(0, kind)

    def newest_step(self) -> int:
        """The step of the last row, 0 where there is none."""
        (count,) = self.rows("step.i8")
        newest = self.read("step.i8", max(0, count - 1), 1)
        return max(0, int(newest[0])) if len(newest) else 0


@contextmanager
def _told() -> Iterator[None]:
    """UserError for an error of the disk's."""
    try:
        yield
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def _kind(name: str) -> np.dtype[Any]:
    """The type of a column's values: the end of its name gives it, as in ``step.i8``."""
    return np.dtype(f"<{name.rpartition('.')[2]}")


def _bounded(history: Folder, name: str) -> int:
    rows = history.size(name) // _kind(name).itemsize
    if rows > MOST_ROWS:
        source = clean(history.path / name)
        raise UserError(f"{source}: {rows:,} rows; ganterm reads {MOST_ROWS:,} at most")
    return rows


def farthest(rows: int, every: int) -> int:
    """The step that so many rows can lead to, if not all of them are there; no run is beyond."""
    return every * (2 * rows + MOST_MISSING)


class Columns:
    """The rows up to step ``last`` of a run with one each ``every`` steps; ``count`` of them.

    A row that is missing has no values. Columns of different lengths, as a kill leaves them, count
    as far as the shortest. Files only grow, so what was found here can be read later. UserError
    where ``last`` is beyond all that the files can hold.
    """

    def __init__(self, run: Path, every: int, last: int) -> None:
        self._files = ColumnFiles(run)
        self.count = last // every
        steps = self._files.read("step.i8", 0, self._shortest())
        if last > farthest(len(steps), every):
            source = clean(run / "history")
            raise UserError(f"{source}: {len(steps):,} rows do not lead to {last:,}")
        due = np.arange(1, self.count + 1) * every
        self._places: NDArray[np.intp] | None = None
        """In which row of the files each is, -1 for none; None where all stand in their order."""
        if not np.array_equal(steps[: self.count], due):
            kept = np.flatnonzero((steps >= every) & (steps % every == 0) & ~_abandoned(steps))
            kept = kept[steps[kept] <= last]
            self._places = np.full(self.count, -1)
            self._places[steps[kept] // every - 1] = kept

    def read(self, name: str, start: int, stop: int) -> Series:
        """A metric of the rows ``start`` to ``stop``; NaN where it has no value."""
        values = np.full(stop - start, np.nan, np.float32)
        column = f"{name}.f4"
        if self._places is None:
            there = self._files.read(column, start, stop - start)
            values[: len(there)] = there
        else:
            places = self._places[start:stop]
            there = self._files.read(column, 0, int(places.max(initial=-1)) + 1)
            known = (places >= 0) & (places < len(there))
            values[known] = there[places[known]]
        values[~np.isfinite(values)] = np.nan
        return values

    def _shortest(self) -> int:
        """The least number of values that a column has, of those that have any, -1 for none."""
        counts = self._files.rows(*(f"{name}.f4" for name in METRICS))
        return min((count for count in counts if count), default=-1)


class ColumnArchive:
    """The oldest ``rows`` of some columns; a metric is read when it is looked at first."""

    def __init__(self, columns: Columns, rows: int) -> None:
        self.rows = rows
        self._columns = columns
        self._read: dict[str, dict[int, Buckets]] = {}

    def buckets(self, name: str, width: int) -> Buckets:
        """Those of a metric, of ``width`` rows each; NaN where nothing finite was."""
        if name not in self._read:
            values = self._columns.read(name, 0, self.rows)
            below = values, values, values
            made = {}
            for level in WIDTHS:
                made[level] = below = summed(*below)
            self._read[name] = made
        return self._read[name][width]


def read_history(run: Path, every: int, last: int) -> History:
    """The series up to step ``last``, of a run with a row each ``every`` steps.

    The newest rows are read now, those before them when they are looked at.
    """
    columns = Columns(run, every, last)
    archived = max(0, columns.count - LIMIT) // WIDTHS[-1] * WIDTHS[-1]
    archive = ColumnArchive(columns, archived) if archived else None
    history = History(tuple(METRICS), every, every, archive=archive)
    rows = [columns.read(name, archived, columns.count) for name in METRICS]
    history.append(np.stack(rows, axis=1))
    return history


def _abandoned(steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a later row begins again at or before the row's step."""
    if not len(steps):
        return np.zeros(0, bool)
    lowest_later = np.minimum.accumulate(steps[::-1])[::-1]
    return np.append(steps[:-1] >= lowest_later[1:], False)
