"""Medians of blocks of rows: by these, a spike of one step raises no alarm."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Steps
from ganterm.core.history import HistoryView

BLOCK = 20
"""Number of rows in a block."""
BLOCKS = 100
"""Most blocks, counted from the newest, that a rule can use."""

Values = NDArray[np.float64]


class Medians:
    """Caches the medians of blocks of rows.

    Rules are applied a few times a second, and each time only new blocks are computed.
    """

    def __init__(self) -> None:
        self._cache: dict[str, tuple[int, Values]] = {}

    def newest(self, history: HistoryView, metrics: Sequence[str]) -> tuple[Steps, Values]:
        """First steps (b,) and medians (metrics, b) of the newest whole blocks, BLOCKS at most."""
        rows = [self._series(history, metric) for metric in metrics]
        count = min(len(medians) for medians in rows)
        last = history.rows // BLOCK
        places = np.arange(last - count, last, dtype=np.int64) * BLOCK
        steps = history.first_step + places * history.every
        return steps, np.stack([medians[len(medians) - count :] for medians in rows])

    def _series(self, history: HistoryView, metric: str) -> Values:
        """Medians of the newest blocks of one metric, (b,), with new blocks added."""
        last = history.rows // BLOCK
        end, medians = self._cache.get(metric, (0, np.empty(0)))
        if end > last:
            end, medians = 0, np.empty(0)
        begin = max(end, last - BLOCKS) * BLOCK
        if last > end:
            _, values = history.newest(metric, history.rows - begin)
            # Rows that are no longer in memory are not read again for a median.
            begin = -(-(history.rows - len(values)) // BLOCK) * BLOCK
            new = values[begin - history.rows + len(values) :][: last * BLOCK - begin]
            added = _medians(new.astype(np.float64).reshape(-1, BLOCK))
            medians = np.append(medians, added) if begin == end * BLOCK else added
            medians = medians[-BLOCKS:]
            self._cache[metric] = (last, medians)
        return medians


def _medians(blocks: Values) -> Values:
    """The median of each of the blocks (b, BLOCK), (b,); NaN if over half of a block is missing."""
    missing = np.isnan(blocks)
    if not missing.any():
        return np.asarray(np.median(blocks, axis=1))  # Many times faster than nanmedian.
    mostly_missing = missing.sum(axis=1) * 2 > BLOCK
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # All of a block can be NaN.
        return np.where(mostly_missing, np.nan, np.nanmedian(blocks, axis=1))
