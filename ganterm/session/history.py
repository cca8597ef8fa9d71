"""The series of all metrics, kept so that any stretch of them is drawn in milliseconds.

Over the rows stands a pyramid of buckets of 16, 256, 4,096 ... rows, each with the smallest, the
largest and the mean value, so that a one-step spike is seen at any zoom. One thread appends;
others read the frozen ``view`` without a lock: what a view refers to is never written again.
Memory is bounded: each level keeps at least its newest ``LIMIT`` entries, so the first million
rows are exact and older ones live on in the coarser levels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FACTOR = 16
LIMIT = 1 << 18

Series = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Envelope:
    """One metric over a stretch of steps, cut into columns; NaN where nothing finite was.

    ``low``, ``high`` and ``mean`` have one value a column; the columns cover the steps from
    ``first`` to ``last``, evenly.
    """

    low: Series
    high: Series
    mean: Series
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class _Level:
    """Buckets ``start`` to ``stop`` of ``width`` rows; arrays of shape (metrics, capacity)."""

    width: int
    start: int
    stop: int
    low: Series
    high: Series
    mean: Series

    def part(self, array: Series, metric: int, start: int, stop: int) -> Series:
        return array[metric, start - self.start : stop - self.start]

    def extended(self, low: Series, high: Series, mean: Series, limit: int) -> _Level:
        """This level with more buckets behind the last; old views keep the old arrays or ends."""
        added = low.shape[1]
        held = self.stop - self.start
        start, arrays = self.start, [self.low, self.high, self.mean]
        if held + added > self.low.shape[1]:
            kept = min(held, limit)
            capacity = max(1024, 2 * (kept + added))
            start = self.stop - kept
            arrays = [_grown(array, held - kept, held, capacity) for array in arrays]
        at = self.stop - start
        for array, new in zip(arrays, (low, high, mean), strict=True):
            array[:, at : at + added] = new
        return _Level(self.width, start, self.stop + added, *arrays)


def _grown(array: Series, start: int, stop: int, capacity: int) -> Series:
    grown = np.empty((array.shape[0], capacity), np.float32)
    grown[:, : stop - start] = array[:, start:stop]
    return grown


@dataclass(frozen=True, eq=False)
class HistoryView:
    """What was recorded up to one moment; does not change."""

    names: tuple[str, ...]
    rows: int
    first_step: int
    every: int
    levels: tuple[_Level, ...]

    @property
    def last_step(self) -> int:
        """The newest row's step, 0 before the first."""
        return self.first_step + (self.rows - 1) * self.every if self.rows else 0

    def newest(self, name: str, count: int) -> Series:
        """The newest values of a metric, at most ``count`` of them, oldest first."""
        level = self.levels[0]
        start = max(level.start, self.rows - count)
        return level.part(level.low, self.names.index(name), start, self.rows).copy()

    def envelope(self, name: str, columns: int, span: int | None = None) -> Envelope:
        """A metric cut into ``columns``, over the whole run or its newest ``span`` rows."""
        metric = self.names.index(name)
        first = max(0, self.rows - span) if span else 0
        if not self.rows:
            nothing = np.full(columns, np.nan, np.float32)
            return Envelope(nothing, nothing, nothing, 0, 0)
        level = self._level_for(first, columns)
        start = max(first // level.width, level.start)
        parts = [
            level.part(array, metric, start, level.stop)
            for array in (level.low, level.high, level.mean)
        ]
        raw = self.levels[0]
        tail = raw.part(raw.low, metric, max(level.stop * level.width, raw.start), self.rows)
        if level.width > 1 and len(tail):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # A tail of nothing but NaN.
                ends = (np.nanmin(tail), np.nanmax(tail), np.nanmean(tail))
            parts = [np.append(part, end) for part, end in zip(parts, ends, strict=True)]
        low, high, mean = _columns(*parts, columns)
        return Envelope(
            low, high, mean, self.first_step + start * level.width * self.every, self.last_step
        )

    def _level_for(self, first: int, columns: int) -> _Level:
        """The coarsest level that still has a bucket a column; finer ones may not reach back."""
        fitting = self.levels[0]
        for level in self.levels[1:]:
            enough = (self.rows - first) / level.width >= columns
            if enough or fitting.start * fitting.width > first:
                fitting = level
        return fitting


def _columns(low: Series, high: Series, mean: Series, columns: int) -> tuple[Series, ...]:
    """Buckets spread evenly over columns, repeated where there are fewer than columns."""
    count = len(low)
    edges = np.arange(columns) * count // columns
    if count <= columns:
        return low[edges], high[edges], mean[edges]
    finite = np.isfinite(mean)
    sums = np.add.reduceat(np.where(finite, mean, 0), edges, dtype=np.float64)
    counts = np.add.reduceat(finite.astype(np.float64), edges)
    means = np.divide(sums, counts, out=np.full(columns, np.nan), where=counts > 0)
    return np.fmin.reduceat(low, edges), np.fmax.reduceat(high, edges), means.astype(np.float32)


class History:
    """The writing side: one thread appends rows, the newest ``view`` is for everyone."""

    def __init__(
        self, names: Sequence[str], first_step: int = 1, every: int = 1, limit: int = LIMIT
    ) -> None:
        self._limit = limit
        empty = np.empty((len(names), 0), np.float32)
        raw = _Level(1, 0, 0, empty, empty, empty)
        self.view = HistoryView(tuple(names), 0, first_step, every, (raw,))

    def append(self, rows: Series) -> None:
        """Add rows of shape (n, metrics); a non-finite value counts as no value."""
        values = np.where(np.isfinite(rows), rows, np.nan).astype(np.float32).T
        raw = self.view.levels[0].extended(values, values, values, 4 * self._limit)
        # One array serves all three of a raw row's values.
        levels = [_Level(1, raw.start, raw.stop, raw.low, raw.low, raw.low)]
        below = levels[0]
        for width in self._widths():
            have = len(levels)
            level = (
                self.view.levels[have]
                if have < len(self.view.levels)
                else _Level(width, 0, 0, *3 * (np.empty((len(values), 0), np.float32),))
            )
            below = self._summed(level, below)
            levels.append(below)
        view = self.view
        self.view = HistoryView(
            view.names, view.rows + values.shape[1], view.first_step, view.every, tuple(levels)
        )

    def _widths(self) -> list[int]:
        return [FACTOR**power for power in range(1, 7)]

    def _summed(self, level: _Level, below: _Level) -> _Level:
        """``level`` with the buckets that ``below`` now fills."""
        start, stop = level.stop, below.stop // FACTOR
        if stop <= start:
            return level
        places = slice(start * FACTOR - below.start, stop * FACTOR - below.start)
        shape = (below.low.shape[0], stop - start, FACTOR)
        low = np.fmin.reduce(below.low[:, places].reshape(shape), axis=2)
        high = np.fmax.reduce(below.high[:, places].reshape(shape), axis=2)
        means = below.mean[:, places].reshape(shape)
        finite = np.isfinite(means)
        counts = finite.sum(axis=2)
        sums = np.where(finite, means, 0).sum(axis=2, dtype=np.float64)
        mean = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        return level.extended(low, high, mean.astype(np.float32), self._limit)
