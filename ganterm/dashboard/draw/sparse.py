"""The readings of a few steps as the line of a chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Series
from ganterm.core.history import Envelope


def envelope_of(measures: Sequence[Series], columns: int, axis: Envelope) -> Envelope:
    """Measures over the steps of ``axis``, in ``columns`` columns, with a row for each measure.

    The line is straight between two readings; there is none before the first and after the
    newest. The band holds every reading, so no spike is lost. Non-finite readings are left out.
    """
    parts = np.array([_columns_of(series, columns, axis) for series in measures], np.float32)
    low, high, mean = parts.transpose(1, 0, 2)
    return Envelope(low, high, mean, axis.first, axis.last, axis.newest)


def _columns_of(series: Series, columns: int, axis: Envelope) -> tuple[NDArray[np.float64], ...]:
    """The smallest, the largest and the mean value of each column."""
    finite = np.isfinite(series.values)
    steps, values = series.steps[finite], series.values[finite].astype(np.float64)
    if not len(steps):
        return (np.full(columns, np.nan),) * 3
    span = max(1, axis.last - axis.first + 1)
    # A column has the value at the last of its steps, so that a reading is drawn at its step.
    ends = axis.first + (np.arange(columns) + 1) * span / columns - 1
    mean = np.interp(ends, steps, values, left=np.nan, right=np.nan)
    places = np.floor((steps - axis.first) * columns / span).astype(np.int64)
    inside = (places >= 0) & (places < columns)
    low, high = mean.copy(), mean.copy()
    np.fmin.at(low, places[inside], values[inside])
    np.fmax.at(high, places[inside], values[inside])
    at_newest = places[inside][-1:]
    mean[at_newest] = np.where(np.isfinite(mean[at_newest]), mean[at_newest], values[inside][-1:])
    return low, high, mean
