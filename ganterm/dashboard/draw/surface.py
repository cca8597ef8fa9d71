"""D's scores over the plane, as the background of the points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Surface
from ganterm.dashboard import palette
from ganterm.dashboard.palette import blend

_SIDES = (0.10, 0.17, 0.24, 0.31)
"""Opacities of the colour, from close to the threshold to far from it."""
SHADES = (
    *(blend(palette.FAKE, share) for share in reversed(_SIDES)),
    *(blend(palette.REAL, share) for share in _SIDES),
)
"""Colours from surely fake to surely real, in D's judgement."""
NOWHERE = len(SHADES)
"""The place beyond the surface, or where a score is not finite."""


def shades_of(
    surface: Surface, x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.intp]:
    """The place in ``SHADES``, or ``NOWHERE``, at columns ``x`` (w,) and rows ``y`` (h,): (h, w).

    Where the loss has no threshold, the median score separates the two sides.
    """
    scores = surface.scores
    rows, columns = scores.shape
    left, right, bottom, top = surface.extent
    across = np.floor((x - left) / (right - left) * columns) if right > left else x * np.nan
    down = np.floor((top - y) / (top - bottom) * rows) if top > bottom else y * np.nan
    inside_x = (across >= 0) & (across < columns)
    inside_y = (down >= 0) & (down < rows)
    shades = np.full((len(y), len(x)), NOWHERE, np.intp)
    finite = np.isfinite(scores)
    if not finite.any() or not inside_x.any() or not inside_y.any():
        return shades
    middle = float(np.median(scores[finite])) if surface.threshold is None else surface.threshold
    distance = np.where(finite, scores.astype(np.float64), middle) - middle
    # Ranks rather than distances, because a few outliers would leave all other scores in one shade.
    levels = np.zeros(scores.shape, np.intp)
    for side in (distance > 0, distance <= 0):
        if side.any():
            sizes = np.abs(distance[side])
            cuts = np.quantile(sizes, np.arange(1, len(_SIDES)) / len(_SIDES))
            levels[side] = np.searchsorted(cuts, sizes, side="left")
    codes = np.where(distance > 0, len(_SIDES) + levels, len(_SIDES) - 1 - levels)
    codes = np.where(finite, codes, NOWHERE)
    rows_inside, columns_inside = down[inside_y].astype(np.intp), across[inside_x].astype(np.intp)
    shades[np.ix_(inside_y, inside_x)] = codes[np.ix_(rows_inside, columns_inside)]
    return shades
