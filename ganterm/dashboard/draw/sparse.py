"""Readings taken now and then, made into the line of a chart."""

from __future__ import annotations

import numpy as np

from ganterm.session.findings import Series
from ganterm.session.history import Envelope


def envelope_of(series: Series, columns: int, axis: Envelope) -> Envelope:
    """A measure over the steps of ``axis``, cut into ``columns``.

    Between two readings the line is straight; before the first and after the newest there is
    none. The band holds every reading, so that no spike is lost. What is not finite is left out.
    """
    finite = np.isfinite(series.values)
    steps, values = series.steps[finite], series.values[finite].astype(np.float64)
    empty = np.full(columns, np.nan, np.float32)
    if not len(steps):
        return Envelope(empty, empty, empty, axis.first, axis.last, axis.newest)
    covered = max(1, axis.last - axis.first + 1)
    # Each column stands for the last of its steps: a reading is drawn where it was taken.
    ends = axis.first + (np.arange(columns) + 1) * covered / columns - 1
    mean = np.interp(ends, steps, values, left=np.nan, right=np.nan)
    places = np.floor((steps - axis.first) * columns / covered).astype(np.int64)
    inside = (places >= 0) & (places < columns)
    low, high = mean.copy(), mean.copy()
    np.fmin.at(low, places[inside], values[inside])
    np.fmax.at(high, places[inside], values[inside])
    at_newest = places[inside][-1:]
    mean[at_newest] = np.where(np.isfinite(mean[at_newest]), mean[at_newest], values[inside][-1:])
    low32, high32, mean32 = (part.astype(np.float32) for part in (low, high, mean))
    return Envelope(low32, high32, mean32, axis.first, axis.last, axis.newest)
