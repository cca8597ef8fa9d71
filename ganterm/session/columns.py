"""The series of a run as they lie in ``history/``: columns of the newest branch. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganterm.errors import UserError
from ganterm.session.history import LIMIT, WIDTHS, Buckets, History, Series, summed
from ganterm.session.metrics import METRICS
from ganterm.text import clean

MOST_MISSING = 10**7
"""Rows that may be missing where there are none at all; places are kept for that many."""


def read_column(path: Path, kind: str, start: int = 0, count: int = -1) -> NDArray[Any]:
    """A column's whole values from ``start`` on, none where the file is missing."""
    size = np.dtype(kind).itemsize
    if not path.is_file() or path.stat().st_size <= start * size:
        return np.zeros(0, kind)
    return np.fromfile(path, kind, count, offset=start * size)


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
        self._folder = run / "history"
        self.count = last // every
        steps = read_column(self._folder / "step.i8", "<i8")[: self._shortest()]
        if last > farthest(len(steps), every):
            raise UserError(f"{clean(self._folder)}: {len(steps):,} rows do not lead to {last:,}")
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
        path = self._folder / f"{name}.f4"
        if self._places is None:
            there = read_column(path, "<f4", start, stop - start)
            values[: len(there)] = there
        else:
            places = self._places[start:stop]
            there = read_column(path, "<f4", 0, int(places.max(initial=-1)) + 1)
            known = (places >= 0) & (places < len(there))
            values[known] = there[places[known]]
        values[~np.isfinite(values)] = np.nan
        return values

    def _shortest(self) -> int | None:
        """The least number of values that a column has, of those that have any."""
        sizes = [(self._folder / f"{name}.f4") for name in METRICS]
        counts = [path.stat().st_size // 4 for path in sizes if path.is_file()]
        return min((count for count in counts if count), default=None)


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
