"""Points of the plane in braille dots: real ones faint, generated ones bright over them.

Where D's scores over the plane are known, they are the background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Surface
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.surface import NOWHERE, SHADES, shades_of
from ganterm.dashboard.palette import style

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint32)
_MARGIN = 1.4
"""Half the side of the picture, in multiples of the largest coordinate of a real point."""


def draw_scatter(
    real: NDArray[np.float32],
    fake: NDArray[np.float32],
    width: int,
    height: int,
    glyphs: Glyphs,
    surface: Surface | None = None,
) -> Cells:
    """Both clouds on ``width`` x ``height`` cells; the real one fills the middle of the picture.

    Points beyond the picture are left out. A cell with generated points does not show real ones.
    ``surface`` is the background, unless pictures are drawn in letters.
    """
    cells = Cells(height, width)
    span = _MARGIN * max(float(np.abs(real).max(initial=0.0)), 1e-6)
    ground = None
    if surface is not None and glyphs.pictures != "ascii" and width and height:
        ground = _ground(surface, span, width, height, glyphs.unicode)
        for shade in np.unique(ground).tolist():
            cells.put(ground == shade, " ", style(background=_color(shade)))
    faint, bright = palette.FAINT, palette.FAKE
    if ground is not None:
        faint, bright = palette.DIM, palette.FAKE_ON_GROUND
    for points, color, letter in ((real, faint, "."), (fake, bright, "o")):
        bits = _bits(points, span, width, height, glyphs.unicode)
        where = bits > 0
        chars = (bits + 0x2800).view("<U1") if glyphs.unicode else letter
        if ground is None:
            cells.put(where, chars, style(color))
            continue
        for shade in np.unique(ground[where]).tolist():
            cells.put(where & (ground == shade), chars, style(color, background=_color(shade)))
    return cells


def _color(shade: int) -> str:
    return palette.SURFACE if shade == NOWHERE else SHADES[shade]


def _ground(
    surface: Surface, span: float, width: int, height: int, braille: bool
) -> NDArray[np.intp]:
    """The shade of each cell: that at the point of the plane in the middle of the cell."""
    across, down = (2, 4) if braille else (1, 2)
    size = min(width * across, height * down)
    x = ((np.arange(width) + 0.5) * across - width * across / 2) * 2 * span / size
    y = (height * down / 2 - (np.arange(height) + 0.5) * down) * 2 * span / size
    return shades_of(surface, x, y)


def _bits(
    points: NDArray[np.float32], span: float, width: int, height: int, braille: bool
) -> NDArray[np.uint32]:
    across, down = (2, 4) if braille else (1, 1)
    # A cell is twice as high as wide, so braille dots are square and whole cells are not.
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
