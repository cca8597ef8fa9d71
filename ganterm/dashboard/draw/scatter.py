"""Points of the plane in braille dots: real ones faint, generated ones bright over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.palette import style

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint32)
_MARGIN = 1.4


def draw_scatter(
    real: NDArray[np.float32], fake: NDArray[np.float32], width: int, height: int, glyphs: Glyphs
) -> Cells:
    """Both clouds on ``width`` x ``height`` cells, the real one filling the middle of the picture.

    Generated points beyond the picture are left out; a cell with any of them shows them alone.
    """
    cells = Cells(height, width)
    span = _MARGIN * max(float(np.abs(real).max(initial=0.0)), 1e-6)
    for points, color, letter in ((real, palette.FAINT, "."), (fake, palette.FAKE, "o")):
        bits = _bits(points, span, width, height, glyphs.unicode)
        where = bits > 0
        if glyphs.unicode:
            cells.put(where, (bits + 0x2800).view("<U1"), style(color))
        else:
            cells.put(where, letter, style(color))
    return cells


def _bits(
    points: NDArray[np.float32], span: float, width: int, height: int, braille: bool
) -> NDArray[np.uint32]:
    across, down = (2, 4) if braille else (1, 1)
    # A cell is twice as high as wide: braille dots are square, whole cells are not.
    pixel_height = 1 if braille else 2
    size = min(width * across, height * down * pixel_height)
    x = width * across / 2 + points[:, 0] / span * size / 2
    y = (height * down * pixel_height / 2 - points[:, 1] / span * size / 2) / pixel_height
    inside = (x >= 0) & (x < width * across) & (y >= 0) & (y < height * down)
    column, row = x[inside].astype(np.intp), y[inside].astype(np.intp)
    bits = np.zeros((height, width), np.uint32)
    weights = _DOTS[row % 4, column % 2] if braille else np.ones(len(row), np.uint32)
    np.bitwise_or.at(bits, (row // down, column // across), weights)
    return bits
