"""Two histograms over each other. Their overlap has a colour of its own; letters mark the peaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Scores
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import tick
from ganterm.dashboard.palette import blend, style

BOTH = blend(palette.REAL, 0.5, palette.FAKE)
"""The colour of the overlap of both histograms."""
_UP = np.array(list(" ▁▂▃▄▅▆▇█"))


def rebinned(
    counts: NDArray[np.int64], edges: NDArray[np.floating], columns: int
) -> NDArray[np.float64]:
    """The share of all ``counts`` (b,) in each of ``columns`` equal columns between the outer
    ``edges`` (b + 1,); zeros where there are no counts or no finite edges."""
    total = counts.sum()
    if total <= 0 or not np.isfinite(edges).all() or edges[-1] <= edges[0]:
        return np.zeros(columns)
    below = np.concatenate([[0.0], np.cumsum(counts) / total])
    cuts = np.linspace(edges[0], edges[-1], columns + 1)
    return np.diff(np.interp(cuts, edges, below))


def draw_scores(
    scores: Scores, threshold: float | None, width: int, height: int, glyphs: Glyphs
) -> Cells:
    """D's scores of reals and fakes on ``width`` x ``height`` cells, with the axis on the last row.

    Each histogram shows shares of its own total. Dots show held-out reals. The threshold is a
    vertical line, with its value below it.
    """
    cells = Cells(height, width)
    rows = height - 1
    if rows < 1 or width < 1:
        return cells
    edges = scores.edges.astype(np.float64)
    shares = [rebinned(counts, edges, width) for counts in (scores.real, scores.fake)]
    held_out = None if scores.held_out is None else rebinned(scores.held_out, edges, width)
    most = max(float(np.max(s, initial=0.0)) for s in shares)
    scale = 8 * (rows - 0.5) / most if most > 0 else 0.0
    real, fake = (np.round(s * scale).astype(np.intp) for s in shares)
    at = None if threshold is None else _place(threshold, edges, width)
    plot = Cells(rows, width)
    _fill(plot, real, fake, rows, glyphs)

    def over(row: int, column: int, char: str) -> None:
        """Write a sign on the colour that the cell has already."""
        floor, color = 8 * (rows - row), palette.SURFACE
        if glyphs.unicode and max(real[column], fake[column]) >= floor:
            color = palette.REAL if real[column] >= fake[column] else palette.FAKE
            color = BOTH if min(real[column], fake[column]) >= floor else color
        front = palette.TEXT if color == palette.SURFACE else palette.GROUND
        plot.write(row, column, char, style(front, background=color))

    if at is not None:
        for row in range(rows):
            over(row, at, glyphs.marker)
    if held_out is not None and held_out.any():
        heights = np.minimum(np.round(held_out * scale).astype(np.intp) // 8, rows - 1)
        for column in np.flatnonzero(held_out > 0).tolist():
            over(rows - 1 - int(heights[column]), column, "•" if glyphs.unicode else "o")
    for letter, bars, color in (("R", real, palette.REAL), ("F", fake, palette.FAKE)):
        if bars.any():
            column = int(bars.argmax())
            row = max(0, rows - 1 - -(-int(bars[column]) // 8))
            plot.write(row, column, letter, style(color, bold=True))
    cells.inset(plot, 0, 0)
    _axis(cells, edges, at, threshold)
    return cells


def _fill(
    cells: Cells, real: NDArray[np.intp], fake: NDArray[np.intp], rows: int, glyphs: Glyphs
) -> None:
    """Draw the lower bar of each column from the bottom up, and the rest of the higher on top."""
    low = np.minimum(real, fake)
    high = np.maximum(real, fake)
    above = 8 * (rows - 1 - np.arange(rows))[:, None]
    inner = np.clip(low[None, :] - above, 0, 8)
    outer = np.clip(high[None, :] - above, 0, 8)
    if not glyphs.unicode:
        for mask, letter, color in (
            ((outer >= 4) & (real > fake)[None, :], "r", palette.REAL),
            ((outer >= 4) & (fake > real)[None, :], "f", palette.FAKE),
            (inner >= 4, "x", BOTH),
        ):
            cells.put(mask, letter, style(color))
        return
    for taller, color in (
        ((real >= fake)[None, :], palette.REAL),
        ((fake > real)[None, :], palette.FAKE),
    ):
        cells.put((outer > 0) & taller & (inner == 0), _UP[outer], style(color))
        # The lower bar ends within a cell that the higher one fills.
        cells.put((inner > 0) & (outer == 8) & taller, _UP[inner], style(BOTH, background=color))
    # Both bars end within one cell: the tip of the higher one is not drawn.
    cells.put((inner > 0) & (outer < 8), _UP[inner], style(BOTH))
    cells.put(inner == 8, "█", style(BOTH))


def _place(value: float, edges: NDArray[np.float64], width: int) -> int | None:
    if not np.isfinite(edges).all() or not edges[0] <= value <= edges[-1] or edges[-1] <= edges[0]:
        return None
    return min(width - 1, int((value - edges[0]) / (edges[-1] - edges[0]) * width))


def _axis(
    cells: Cells, edges: NDArray[np.float64], at: int | None, threshold: float | None
) -> None:
    row, width = cells.size[0] - 1, cells.size[1]
    if not np.isfinite(edges).all():
        return
    low, high = tick(float(edges[0])), tick(float(edges[-1]))
    cells.write(row, 0, low, style(palette.DIM))
    cells.write(row, width - len(high), high, style(palette.DIM))
    if at is not None and threshold is not None:
        label = tick(threshold)
        left = at - len(label) // 2
        if len(low) < left and left + len(label) < width - len(high):
            cells.write(row, left, label, style(palette.TEXT))
