"""The numbers behind a chart's lines: smoothing, scaling and the bounds of the axis.

All lines of a chart go through NumPy together, because each call costs more than its arithmetic.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ganterm.core.history import Envelope

HIGH, LOW, SMOOTH = range(3)
"""Places along the second axis of traces."""
_SMOOTH = 0.03
"""Decay length of the exponential mean, as a share of the columns."""
_LEAST_WEIGHT = 1e-12
"""Sum of weights below which a smoothed value is not shown."""
_FILLED = 0.45
"""Share of the last axis that the data must fill for it to stay."""


def traced(envelope: Envelope, log: bool) -> NDArray[np.float64]:
    """The curves to draw for an envelope of shape (lines, columns), in the scale's units.

    They have the shape (lines, 3, columns): the band's upper edge, its lower edge, and the
    smoothed line.
    """
    smooth = smoothed(envelope.mean)
    return scaled(np.stack([envelope.high, envelope.low, smooth], axis=1), log)


def smoothed(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """An exponential mean over 3 % of the last axis; NaN outside the first to the last value."""
    columns = values.shape[-1]
    kernel = _kernel(columns)
    finite = np.isfinite(values)
    # Sums and weights of all lines form one series; zeros behind each keep the lines apart.
    series = np.zeros((2, *values.shape[:-1], columns + len(kernel)))
    series[0, ..., :columns] = np.where(finite, values, 0.0)
    series[1, ..., :columns] = finite
    flat = np.convolve(series.ravel(), kernel)[: series.size]
    sums, weight = flat.reshape(series.shape)[..., :columns]
    # Single gaps are bridged; what follows the newest value stays empty.
    shown = np.logical_or.accumulate(finite[..., ::-1], axis=-1)[..., ::-1]
    shown &= weight > _LEAST_WEIGHT
    means: NDArray[np.float64] = np.divide(
        sums, weight, out=np.full(values.shape, np.nan), where=shown
    )
    return means


@cache
def _kernel(columns: int) -> NDArray[np.float64]:
    span = max(2.0, _SMOOTH * columns)
    return np.exp(-np.arange(math.ceil(6 * span)) / span)


def scaled(values: NDArray[np.floating], log: bool) -> NDArray[np.float64]:
    """Values in the scale's own units: log10 where ``log``, and NaN where that does not exist."""
    wide = values.astype(np.float64, copy=False)
    if not log:
        return wide
    return np.log10(wide, out=np.full(wide.shape, np.nan), where=wide > 0)


def reach(
    traces: NDArray[np.float64], log: bool, keep: tuple[float, float] | None
) -> tuple[float, float]:
    """Round axis bounds that contain the smoothed lines and all but 3 % of the band at each end.

    ``keep``, the bounds of the last frame, stays while the data fill enough of it, so that the
    axis does not jump.
    """
    finite = np.isfinite(traces)
    # Sorting puts NaN last.
    ordered = np.sort(np.where(finite, traces, np.nan), axis=-1)
    counts = finite.sum(axis=-1).tolist()
    lows, highs = [], []
    for line, (high, low, smooth) in zip(ordered, counts, strict=True):
        if smooth:
            lows += [line[SMOOTH, 0], *line[LOW, low * 3 // 100 : low][:1]]
            highs += [line[SMOOTH, smooth - 1], *line[HIGH, high * 97 // 100 : high][:1]]
    if not lows:
        return keep or (0.0, 1.0)
    lowest, highest = float(min(lows)), float(max(highs))
    inside = keep and keep[0] <= lowest <= highest <= keep[1]
    if keep and inside and highest - lowest > _FILLED * (keep[1] - keep[0]):
        return keep
    if log:
        return math.floor(lowest), max(math.ceil(highest), math.floor(lowest) + 1)
    span = max(highest - lowest, 1e-3 * max(abs(highest), abs(lowest)), 1e-6)
    base = 10.0 ** math.floor(math.log10(span / 2))
    step = next(base * m for m in (1, 2, 5, 10) if span / (base * m) <= 4)
    first = math.floor(lowest / step)
    return first * step, max(math.ceil(highest / step), first + 1) * step
