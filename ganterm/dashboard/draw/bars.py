"""Bars in eighths of a cell, and the modes of the data as bars in the room there is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from ganterm.core.findings import Modes
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.palette import style

LONGEST_NAME = 10
"""Most characters of a mode's name; longer ones are cut."""
_ACROSS = " ▏▎▍▌▋▊▉█"
_UP = " ▁▂▃▄▅▆▇█"
_LEAST_BAR, _MOST_BAR = 8, 40
"""Fewest and most columns of a bar that has figures beside it."""
_FIGURES = 9
"""Columns for the figures beside a bar."""


def bar(share: float, width: int, glyphs: Glyphs) -> str:
    """A bar over ``share`` of ``width`` cells, padded to the width.

    ``share`` is clipped to 0..1; NaN gives an empty bar.
    """
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    if not glyphs.unicode:
        return ("#" * round(share * width)).ljust(width)
    full, rest = divmod(round(share * width * 8), 8)
    return ("█" * full + _ACROSS[rest] * bool(rest)).ljust(width)


def upright(share: float, height: int, glyphs: Glyphs) -> str:
    """The same bar upright: ``height`` characters from the top down."""
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    if not glyphs.unicode:
        return ("#" * round(share * height)).ljust(height)[::-1]
    full, rest = divmod(round(share * height * 8), 8)
    return ("█" * full + _UP[rest] * bool(rest)).ljust(height)[::-1]


def against(shares: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shares (..., m) divided by those of the data (m,); 0 where the quotient is undefined."""
    defined = np.isfinite(shares) & (expected > 0)
    zeros = np.zeros(shares.shape, np.float64)
    return np.divide(shares, expected, out=zeros, where=defined)


def names(modes: Modes) -> list[str]:
    """The modes' names, cleaned and cut to ``LONGEST_NAME`` characters."""
    return [clean(name, LONGEST_NAME) for name in modes.names]


def draw_modes(modes: Modes, width: int, height: int, glyphs: Glyphs, lost: bool = True) -> Cells:
    """G's share of each mode relative to the data's, in the most detailed form that fits.

    The forms are: a line with figures for each mode, with the data's share at the middle of the
    bar; upright bars, with the data's share at half the height; one row, with a block behind each
    name; for very many modes, a profile. Modes that are not found have a sign, in red if ``lost``.
    """
    count = len(modes.names)
    if not count or width < 1 or height < 1:
        return Cells(max(0, height), max(0, width))
    labels = names(modes)
    longest = max(map(len, labels))
    line = longest + 1 + _LEAST_BAR + _FIGURES
    banks = max(1, -(-count // height))
    if banks * (line + 2) - 2 <= width:
        return _lines(modes, labels, width, height, banks, glyphs, lost)
    across = max(longest, 2) + 1
    if height >= 3 and count * across - 1 <= width:
        return _columns(modes, labels, width, height, glyphs, lost)
    if count * (longest + 2) - 1 <= width:
        return _inline(modes, labels, width, height, glyphs, lost)
    return _profile(modes, width, height, glyphs, lost)


def _lines(
    modes: Modes, labels: list[str], width: int, height: int, banks: int, glyphs: Glyphs, lost: bool
) -> Cells:
    cells = Cells(height, width)
    ratios = against(modes.shares, modes.expected)
    longest = max(map(len, labels))
    # All banks get the same number of rows: 10 modes on 7 rows become two banks of 5.
    down = -(-len(labels) // banks)
    bank = (width + 2) // banks
    room = min(bank - 2 - longest - 1 - _FIGURES, _MOST_BAR)
    for place, name in enumerate(labels):
        left, row = place // down * bank, place % down
        found = bool(modes.found[place])
        _name(cells, row, left, f"{name:>{longest}}", found, lost)
        start = left + longest + 1
        cells.write(row, start, bar(ratios[place] / 2, room, glyphs), style(palette.G))
        middle = start + room // 2
        if ratios[place] < 1 and middle < width:
            cells.write(row, middle, glyphs.middle, style(palette.FAINT))
        share = float(np.nan_to_num(modes.shares[place]))
        figures = f"{100 * share:5.1f} %"
        cells.write(row, start + room + 1, figures, style(palette.DIM))
        if not found:
            gone = f"{glyphs.lost} {'lost' if lost else 'none'}"
            at = start + room + 1 + len(figures) - len(gone)
            cells.write(row, start + room + 1, " " * len(figures), style())
            cells.write(row, at, gone, _gone(lost))
    return cells


def _columns(
    modes: Modes, labels: list[str], width: int, height: int, glyphs: Glyphs, lost: bool
) -> Cells:
    cells = Cells(height, width)
    ratios = against(modes.shares, modes.expected)
    longest = max(map(len, labels))
    across = min((width + 1) // len(labels), longest + 4)
    rows = height - 1
    middle = rows - -(-rows // 2)
    guide = glyphs.guide * min(width, len(labels) * across - 1)
    cells.write(middle, 0, guide, style(palette.FAINT))
    for place, name in enumerate(labels):
        left, found = place * across, bool(modes.found[place])
        thick = across - 1
        for row, char in enumerate(upright(ratios[place] / 2, rows, glyphs)):
            if char != " ":
                cells.write(row, left, char * thick, style(palette.G))
        sign = "" if found else glyphs.lost
        _name(cells, rows, left, f"{sign + name:^{thick}}", found, lost)
    return cells


def _inline(
    modes: Modes, labels: list[str], width: int, height: int, glyphs: Glyphs, lost: bool
) -> Cells:
    cells = Cells(height, width)
    ratios = against(modes.shares, modes.expected)
    column = 0
    for place, name in enumerate(labels):
        found = bool(modes.found[place])
        _name(cells, 0, column, name, found, lost)
        block = upright(ratios[place], 1, glyphs) if found else glyphs.lost
        look = style(palette.G) if found else _gone(lost)
        cells.write(0, column + len(name), block, look)
        column += len(name) + 2
    return cells


def _profile(modes: Modes, width: int, height: int, glyphs: Glyphs, lost: bool) -> Cells:
    """A bar for each column of several modes, of their mean; a sign where none of them is found.

    Where there are fewer modes than columns, blank columns separate them.
    """
    cells = Cells(height, width)
    ratios = against(modes.shares, modes.expected)
    columns = min(width, len(ratios))
    starts = np.arange(columns) * len(ratios) // columns
    sums = np.add.reduceat(ratios, starts)
    counts = np.diff([*starts.tolist(), len(ratios)])
    any_found = np.add.reduceat(np.asarray(modes.found, np.intp), starts) > 0
    apart = max(1, width // columns)
    for column in range(columns):
        left = column * apart
        if not any_found[column]:
            cells.write(height - 1, left, glyphs.lost, _gone(lost))
            continue
        for row, char in enumerate(upright(sums[column] / counts[column] / 2, height, glyphs)):
            cells.write(row, left, char, style(palette.G))
    return cells


def _name(cells: Cells, row: int, column: int, name: str, found: bool, lost: bool) -> None:
    cells.write(row, column, name, style(palette.TEXT) if found else _gone(lost))


def _gone(lost: bool) -> Style:
    return style(palette.ALARM, bold=True) if lost else style(palette.DIM)
