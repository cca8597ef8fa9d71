"""The series of all metrics, kept so that any part of them is drawn in milliseconds.

Above the rows is a pyramid of buckets of 16, 256 and 4,096 rows. Each bucket holds the smallest,
the largest and the mean value, so a one-step spike is visible at any zoom. One thread appends.
Others read the frozen ``view`` without a lock, because the data of a view never change.

Memory is bounded: at least the newest ``LIMIT`` rows and the newest ``LIMIT`` buckets of each level
but the coarsest are kept. A chart of 2,048 columns needs no more, and coarser levels cover what
lies before. Rows from before this process began to follow a run stay on disk, in an ``Archive``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FACTOR = 16
WIDTHS = (FACTOR, FACTOR**2, FACTOR**3)
"""Rows in a bucket of each level, from the finest to the coarsest."""
LIMIT = 1 << 15
"""Entries of a level that are always kept: 16 for each of 2,048 columns."""

Series = NDArray[np.float32]
Buckets = tuple[Series, Series, Series]
"""The smallest, largest and mean value of each bucket, in arrays of one shape."""


class Archive(Protocol):
    """The oldest rows of a run, read from disk when they are needed first.

    ``rows``: their number, which fills whole buckets of the coarsest level.
    """

    rows: int

    def buckets(self, name: str, width: int) -> Buckets:
        """A metric's buckets of ``width`` rows each; NaN where no value is finite."""


@dataclass(frozen=True, eq=False)
class Envelope:
    """Metrics over a range of steps, cut into columns; NaN where no value is finite.

    ``low``, ``high`` and ``mean`` have the shape (columns,) or (metrics, columns). The columns
    cover the steps from ``first`` to ``last`` evenly. ``newest`` is the newest recorded step.
    """

    low: Series
    high: Series
    mean: Series
    first: int
    last: int
    newest: int


@dataclass(frozen=True, eq=False)
class _Level:
    """Buckets of ``width`` rows, from ``start`` to before ``stop``; arrays (metrics, capacity)."""

    width: int
    start: int
    stop: int
    low: Series
    high: Series
    mean: Series

    def part(self, array: Series, metrics: int | list[int], start: int, stop: int) -> Series:
        return array[metrics, start - self.start : stop - self.start]

    def extended(self, low: Series, high: Series, mean: Series, limit: int) -> _Level:
        """This level with more buckets appended. Views from before see neither the new buckets nor
        a change in their own."""
        new_count = low.shape[1]
        count = self.stop - self.start
        # A raw row has one value, so one array serves as smallest, largest and mean.
        raw = self.width == 1
        start, arrays = self.start, [self.low] if raw else [self.low, self.high, self.mean]
        if count + new_count > self.low.shape[1]:
            kept = min(count, limit)
            capacity = max(1024, 2 * (kept + new_count))
            start = self.stop - kept
            arrays = [_enlarge(array, count - kept, count, capacity) for array in arrays]
        at = self.stop - start
        for array, new in zip(arrays, (low, high, mean), strict=False):
            array[:, at : at + new_count] = new
        return _Level(self.width, start, self.stop + new_count, *(3 * arrays if raw else arrays))


def _enlarge(array: Series, start: int, stop: int, capacity: int) -> Series:
    larger = np.empty((array.shape[0], capacity), np.float32)
    larger[:, : stop - start] = array[:, start:stop]
    return larger


@dataclass(frozen=True, eq=False)
class HistoryView:
    """All that was recorded up to one moment; it never changes."""

    names: tuple[str, ...]
    rows: int
    first_step: int
    every: int
    levels: tuple[_Level, ...]
    archive: Archive | None = None

    @property
    def last_step(self) -> int:
        """The newest row's step, 0 before the first."""
        return self.first_step + (self.rows - 1) * self.every if self.rows else 0

    def newest(self, name: str, count: int) -> tuple[NDArray[np.int64], Series]:
        """Steps and values of a metric's newest rows, at most ``count``; NaN where not finite."""
        raw = self.levels[0]
        start = max(raw.start, self.rows - count)
        values = raw.part(raw.low, self.names.index(name), start, self.rows)
        steps = self.first_step + np.arange(start, self.rows, dtype=np.int64) * self.every
        return steps, values

    def envelope(
        self, names: str | Sequence[str], columns: int, span: int | None = None
    ) -> Envelope:
        """One metric or several in ``columns`` columns, over the run or its newest ``span`` rows.

        The columns cover up to a quarter more steps than there are; that part is NaN. Their edges
        therefore stay in place for many new rows before they are chosen again.
        """
        if isinstance(names, str):
            one = self.envelope([names], columns, span)
            return replace(one, low=one.low[0], high=one.high[0], mean=one.mean[0])
        first, width = self._stretch(columns, span)
        empty = np.full((len(names), columns), np.nan, np.float32)
        last_step = self.first_step + (first + width - 1) * self.every
        if not self.rows:
            return Envelope(empty, empty, empty, self.first_step, last_step, 0)
        level = self._level_for(first, width // columns)
        begin = max(first // level.width, self._reach(level))
        lows, highs, means = self._buckets(names, level, begin)
        edges = first + np.arange(columns) * width // columns
        places = np.maximum(edges // level.width - begin, 0)
        filled = int(np.count_nonzero((edges < self.rows) & (places < lows.shape[1])))
        low, high, mean = empty, empty.copy(), empty.copy()
        if filled:
            places = places[:filled]
            low[:, :filled] = np.fmin.reduceat(lows, places, axis=1)
            high[:, :filled] = np.fmax.reduceat(highs, places, axis=1)
            mean[:, :filled] = _means(means, places)
        first_step = self.first_step + first * self.every
        return Envelope(low, high, mean, first_step, last_step, self.last_step)

    def _buckets(self, names: Sequence[str], level: _Level, begin: int) -> Buckets:
        """A level's buckets from ``begin`` on, with one more for the newest rows, which do not
        fill a bucket yet."""
        metrics = [self.names.index(name) for name in names]
        since = max(begin, level.start)
        raw = self.levels[0]
        if level is raw:
            rows = raw.part(raw.low, metrics, since, raw.stop)
            return rows, rows, rows
        parts = [
            level.part(array, metrics, since, level.stop)
            for array in (level.low, level.high, level.mean)
        ]
        tail = raw.part(raw.low, metrics, max(level.stop * level.width, raw.start), self.rows)
        if tail.shape[1]:
            at = np.zeros(1, np.intp)
            ends = (
                np.fmin.reduceat(tail, at, axis=1),
                np.fmax.reduceat(tail, at, axis=1),
                _means(tail, at),
            )
            parts = [np.concatenate(pair, axis=1) for pair in zip(parts, ends, strict=True)]
        if self.archive is not None and begin < level.start:
            archived = [self.archive.buckets(name, level.width) for name in names]
            older = (np.stack(part)[:, begin:] for part in zip(*archived, strict=True))
            parts = [np.concatenate(pair, axis=1) for pair in zip(older, parts, strict=True)]
        low, high, mean = parts
        return low, high, mean

    def _stretch(self, columns: int, span: int | None) -> tuple[int, int]:
        """The first row to show, and the number of rows that the columns cover."""
        if span is None or self.rows <= span:
            width = columns
            while width < self.rows:
                width = max(width + 1, 5 * width // 4)
            return 0, width
        quarter = max(1, span // 4)
        return (self.rows - span) // quarter * quarter, span + quarter

    def _level_for(self, first: int, rows_a_column: int) -> _Level:
        """The coarsest level with at least one bucket per column, or a coarser one if none of
        these reaches back to row ``first``."""
        fitting = self.levels[0]
        for level in self.levels[1:]:
            if level.width <= rows_a_column or self._reach(fitting) * fitting.width > first:
                fitting = level
        return fitting

    def _follows_archive(self, level: _Level) -> bool:
        """Whether the archive's buckets and the level's together cover the whole run."""
        archived = 0 if self.archive is None else self.archive.rows
        return level.width > 1 and level.start * level.width == archived

    def _reach(self, level: _Level) -> int:
        """The first bucket of a level that can be read."""
        return 0 if self._follows_archive(level) else level.start


def _means(values: Series, places: NDArray[np.intp]) -> Series:
    """The mean of the finite values from each place to before the next; NaN for none."""
    finite = np.isfinite(values)
    sums = np.add.reduceat(np.where(finite, values, 0), places, axis=1, dtype=np.float64)
    counts = np.add.reduceat(finite, places, axis=1, dtype=np.float64)
    means: Series = np.divide(
        sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0
    ).astype(np.float32)
    return means


class History:
    """The writing side: one thread appends rows, and any thread may read the newest ``view``."""

    def __init__(
        self,
        names: Sequence[str],
        first_step: int = 1,
        every: int = 1,
        limit: int = LIMIT,
        archive: Archive | None = None,
    ) -> None:
        self._limit = limit
        rows = 0 if archive is None else archive.rows
        empty = np.empty((len(names), 0), np.float32)
        levels = tuple(
            _Level(width, rows // width, rows // width, empty, empty, empty)
            for width in (1, *WIDTHS)
        )
        self.view = HistoryView(tuple(names), rows, first_step, every, levels, archive)

    def append(self, rows: Series) -> None:
        """Add rows of shape (n, metrics); a non-finite value counts as no value."""
        values = np.where(np.isfinite(rows), rows, np.nan).astype(np.float32).T
        raw, *coarser = self.view.levels
        levels = [raw.extended(values, values, values, self._limit)]
        for level in coarser:
            last = level.width == WIDTHS[-1]
            levels.append(_filled_up(level, levels[-1], level.stop if last else self._limit))
        self.view = replace(self.view, rows=self.view.rows + values.shape[1], levels=tuple(levels))


def _filled_up(level: _Level, below: _Level, limit: int) -> _Level:
    """``level`` with the further buckets that the level ``below`` fills."""
    start, stop = level.stop, below.stop // FACTOR
    if stop <= start:
        return level
    places = slice(start * FACTOR - below.start, stop * FACTOR - below.start)
    low, high, mean = summed(below.low[:, places], below.high[:, places], below.mean[:, places])
    return level.extended(low, high, mean, limit)


def summed(low: Series, high: Series, mean: Series) -> Buckets:
    """Every ``FACTOR`` buckets along the last axis merged into one; the axis has whole groups."""
    finite = np.isfinite(mean)
    counts = _folded(finite.astype(np.float32), np.add)
    sums = _folded(np.where(finite, mean, 0).astype(np.float64), np.add)
    average = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return _folded(low, np.fmin), _folded(high, np.fmax), average.astype(np.float32)


def _folded(values: NDArray[Any], combine: np.ufunc) -> NDArray[Any]:
    """Every ``FACTOR`` values along the last axis combined into one, by halves, which is fast."""
    for _ in range(FACTOR.bit_length() - 1):
        values = combine(values[..., ::2], values[..., 1::2])
    return values
