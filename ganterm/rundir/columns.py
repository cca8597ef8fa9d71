"""The series of a run, read from the columns in ``history/``: the newest branch. No torch."""

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
"""Most rows of a run that are read: a week at 200 steps per second, a gigabyte of step numbers."""
MOST_MISSING = 10**7
"""Most rows that may be missing where the files hold none; with rows, as many more may be missing.
Memory is reserved for missing rows, so a wrong step must not claim any amount of it."""


class ColumnFiles:
    """The files in ``history/`` of a run, which may be moved while they are read.

    Every method, and the constructor, raises UserError where the files cannot be read or hold more
    than ``MOST_ROWS``.
    """

    def __init__(self, run: Path) -> None:
        with _as_user_error():
            self.run = Folder.at(run)

    def rows(self, *names: str) -> list[int]:
        """The number of whole values in each column, 0 where the file is missing."""
        counts = dict.fromkeys(names, 0)
        with _as_user_error(), suppress(FileNotFoundError), self.run.folder("history") as history:
            for name in names:
                with suppress(FileNotFoundError):
                    counts[name] = _row_count(history, name)
        return list(counts.values())

    def read(self, name: str, start: int = 0, count: int = -1) -> NDArray[Any]:
        """A column's whole values from ``start`` on, at most ``count`` of them (-1: all); none
        where the file is missing."""
        kind = _kind(name)
        with _as_user_error(), suppress(FileNotFoundError), self.run.folder("history") as history:
            at = min(start, _row_count(history, name)) * kind.itemsize
            with os.fdopen(history.open(name), "rb") as file:
                return np.fromfile(file, kind, count, offset=at)
        return np.zeros(0, kind)

    def newest_step(self) -> int:
        """The step of the last row, 0 where there are no rows."""
        (count,) = self.rows("step.i8")
        newest = self.read("step.i8", max(0, count - 1), 1)
        return max(0, int(newest[0])) if len(newest) else 0


@contextmanager
def _as_user_error() -> Iterator[None]:
    """Raise a UserError in place of an OSError."""
    try:
        yield
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def _kind(name: str) -> np.dtype[Any]:
    """The type of a column's values, by the end of its name, as in ``step.i8``."""
    return np.dtype(f"<{name.rpartition('.')[2]}")


def _row_count(history: Folder, name: str) -> int:
    """The number of whole values in a column; UserError for more than ``MOST_ROWS``."""
    rows = history.size(name) // _kind(name).itemsize
    if rows > MOST_ROWS:
        source = clean(history.path / name)
        raise UserError(f"{source}: {rows:,} rows; ganterm reads {MOST_ROWS:,} at most")
    return rows


def farthest(rows: int, every: int) -> int:
    """The highest step that is believed of ``rows`` rows, one each ``every`` steps, of which some
    may be missing."""
    return every * (2 * rows + MOST_MISSING)


class Columns:
    """The ``count`` rows up to step ``last`` of a run with a row for each ``every`` steps.

    A missing row has no values. Where a kill has left columns of different lengths, the shortest
    counts. Files only grow, so the rows found here can still be read later. UserError where the
    files cannot lead to ``last``.
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
        """The row of the files for each row, -1 for a missing one; None where all are in order."""
        if not np.array_equal(steps[: self.count], due):
            kept = np.flatnonzero((steps >= every) & (steps % every == 0) & ~_abandoned(steps))
            kept = kept[steps[kept] <= last]
            self._places = np.full(self.count, -1)
            self._places[steps[kept] // every - 1] = kept

    def read(self, name: str, start: int, stop: int) -> Series:
        """A metric of the rows from ``start`` to before ``stop``; NaN where it has no value."""
        values = np.full(stop - start, np.nan, np.float32)
        column = f"{name}.f4"
        if self._places is None:
            stored = self._files.read(column, start, stop - start)
            values[: len(stored)] = stored
        else:
            places = self._places[start:stop]
            stored = self._files.read(column, 0, int(places.max(initial=-1)) + 1)
            present = (places >= 0) & (places < len(stored))
            values[present] = stored[places[present]]
        values[~np.isfinite(values)] = np.nan
        return values

    def _shortest(self) -> int:
        """The length of the shortest column that has any values; -1 where none has."""
        counts = self._files.rows(*(f"{name}.f4" for name in METRICS))
        return min((count for count in counts if count), default=-1)


class ColumnArchive:
    """The oldest ``rows`` of some columns; a metric is read when it is needed first."""

    def __init__(self, columns: Columns, rows: int) -> None:
        self.rows = rows
        self._columns = columns
        self._levels: dict[str, dict[int, Buckets]] = {}

    def buckets(self, name: str, width: int) -> Buckets:
        """A metric's buckets of ``width`` rows each; NaN where no value is finite."""
        if name not in self._levels:
            values = self._columns.read(name, 0, self.rows)
            below = values, values, values
            levels = {}
            for level in WIDTHS:
                levels[level] = below = summed(*below)
            self._levels[name] = levels
        return self._levels[name][width]


def read_history(run: Path, every: int, last: int) -> History:
    """The series up to step ``last`` of a run with a row for each ``every`` steps.

    The newest rows are read now, older ones when they are needed first.
    """
    columns = Columns(run, every, last)
    archived = max(0, columns.count - LIMIT) // WIDTHS[-1] * WIDTHS[-1]
    archive = ColumnArchive(columns, archived) if archived else None
    history = History(tuple(METRICS), every, every, archive=archive)
    rows = [columns.read(name, archived, columns.count) for name in METRICS]
    history.append(np.stack(rows, axis=1))
    return history


def _abandoned(steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each row, whether a later row has the same step or an earlier one."""
    if not len(steps):
        return np.zeros(0, bool)
    lowest_later = np.minimum.accumulate(steps[::-1])[::-1]
    return np.append(steps[:-1] >= lowest_later[1:], False)
