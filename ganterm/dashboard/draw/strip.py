"""A heat strip: a row a mode, steps from left to right, brighter where G makes more of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import ModeTrail
from ganterm.dashboard import palette
from ganterm.dashboard.draw.bars import against
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.palette import blend, style

LOST = 0.1
"""Below this share of what the data have of a mode it is drawn as lost, as it is counted."""
_SHARES = (0.16, 0.3, 0.44, 0.58, 0.75, 1.0)
_LETTERS = ".:-=+#"
_AS_DATA = 4
"""Place among the shades of a mode that G makes as often as the data have it."""


def grouped(ratios: NDArray[np.float64], rows: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Modes (t, m) on at most ``rows`` rows: of neighbours the scarcest, and where each begins."""
    count = ratios.shape[1]
    each = max(1, -(-count // max(1, rows)))
    starts = np.arange(0, count, each)
    return np.minimum.reduceat(ratios, starts, axis=1), starts


def labels(names: Sequence[str], starts: NDArray[np.intp]) -> list[str]:
    """The name of each row: a mode's, or the first and the last of several."""
    ends = [*(starts[1:] - 1).tolist(), len(names) - 1]
    pairs = zip(starts.tolist(), ends, strict=True)
    return [names[a] if a == b else f"{names[a]}-{names[b]}" for a, b in pairs]


def draw_strip(
    trail: ModeTrail,
    expected: NDArray[np.float32],
    rows: int,
    columns: int,
    first: int,
    last: int,
    glyphs: Glyphs,
    lost: bool = True,
) -> tuple[Cells, NDArray[np.intp]]:
    """The strip over the steps ``first`` to ``last``, and the first mode of each of its rows.

    A column shows the mean of its readings, or the newest before it; nothing before the first
    reading nor after the newest. What is not there is red where it is called ``lost``.
    """
    ratios = against(trail.shares, expected)
    covered = max(1, last - first + 1)
    edges = first + (np.arange(columns + 1) * covered / max(1, columns))
    # A column averages the readings from `starts` to `ends`. One without a reading of its own takes
    # the reading before it.
    ends = np.searchsorted(trail.steps, edges[1:], side="left")
    starts = np.minimum(np.searchsorted(trail.steps, edges[:-1], side="left"), ends - 1)
    sums = np.concatenate([np.zeros((1, ratios.shape[1])), np.cumsum(ratios, axis=0)])
    shown = (ends > 0) & (edges[:-1] <= trail.steps[-1:].max(initial=-1))
    starts = np.maximum(starts, 0)
    spans = np.maximum(ends - starts, 1)[:, None]
    means = (sums[ends] - sums[starts]) / spans
    made, begins = grouped(means, rows)
    levels = np.ceil(made * (_AS_DATA + 1) - 1e-6).astype(np.intp) - 1
    levels = np.clip(levels, 0, len(_SHARES) - 1)
    codes = np.where(made < LOST, len(_SHARES), levels)
    codes = np.where(shown[:, None], codes, len(_SHARES) + 1).T
    gone = style(palette.ALARM if lost else palette.DIM)
    if glyphs.pictures == "ascii":
        chars = np.array([*_LETTERS, glyphs.lost, " "])
        looks = [style(palette.G)] * len(_SHARES) + [gone, style()]
    else:
        chars = np.array([" "] * len(_SHARES) + [glyphs.dot, " "])
        shades = (blend(palette.G, share) for share in _SHARES)
        looks = [*(style(palette.TEXT, background=shade) for shade in shades), gone, style()]
    return Cells.of(chars[codes], codes, looks), begins


def legend(glyphs: Glyphs, lost: bool = True) -> str:
    """What the strip's signs mean."""
    sign = glyphs.lost if glyphs.pictures == "ascii" else glyphs.dot
    return f"{sign} {'lost' if lost else 'none'}, bright: as in the data"
