"""Medians of blocks of rows, by which rules judge: a spike of one step is no alarm."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Steps
from ganterm.core.history import HistoryView

BLOCK = 20
"""Rows in a block."""
BLOCKS = 100
"""Blocks looked back at, at most."""

Values = NDArray[np.float64]


class Medians:
    """Medians of blocks of rows, kept from one judgement to the next.

    Rules are asked a few times a second, so only blocks that are new are looked at.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Values]] = {}

    def newest(self, history: HistoryView, metrics: Sequence[str]) -> tuple[Steps, Values]:
        """First steps (b,) and medians (metrics, b) of the newest whole blocks, BLOCKS at most."""
        rows = [self._series(history, metric) for metric in metrics]
        count = min(len(medians) for medians in rows)
        last = history.rows // BLOCK
        places = np.arange(last - count, last, dtype=np.int64) * BLOCK
        steps = history.first_step + places * history.every
        return steps, np.stack([medians[len(medians) - count :] for medians in rows])

    def _series(self, history: HistoryView, metric: str) -> Values:
        """Medians of the newest blocks of one metric, (b,), brought up to date."""
        last = history.rows // BLOCK
        end, medians = self._known.get(metric, (0, np.empty(0)))
        if end > last:
            end, medians = 0, np.empty(0)
        begin = max(end, last - BLOCKS) * BLOCK
        if last > end:
            _, values = history.newest(metric, history.rows - begin)
            # What lies before the rows in memory is not read for a median.
            begin = -(-(history.rows - len(values)) // BLOCK) * BLOCK
            new = values[begin - history.rows + len(values) :][: last * BLOCK - begin]
            cut = new.astype(np.float64).reshape(-1, BLOCK)
            whole = np.append(medians, _medians(cut)) if begin == end * BLOCK else _medians(cut)
            medians = whole[-BLOCKS:]
            self._known[metric] = (last, medians)
        return medians


def _medians(cut: Values) -> Values:
    """Of each row of (b, BLOCK), (b,)."""
    missing = np.isnan(cut)
    if not missing.any():
        return np.asarray(np.median(cut, axis=1))  # Many times faster than what minds NaN.
    few = missing.sum(axis=1) * 2 > BLOCK
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Of blocks without any value.
        return np.where(few, np.nan, np.nanmedian(cut, axis=1))
