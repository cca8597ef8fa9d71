"""Tables of pictures with a label for each row, pairs of pictures, and plain grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.picture import ENOUGH, draw_picture, fit, mosaic, resized
from ganterm.dashboard.palette import style

LONGEST_LABEL = 8
"""Most characters of a row's label."""
ENOUGH_PAIRS = 8
"""Pairs that should be visible before single ones are drawn larger."""
_BANK_GAP = 2
"""Columns between two banks of a table."""
_PAIR_GAP = 2
"""Columns between two pairs that lie side by side."""


@dataclass(frozen=True)
class Table:
    """The layout of a table: ``banks`` side by side, each of ``down`` rows of ``across`` pictures
    that are ``dots`` dots wide."""

    dots: int
    across: int
    down: int
    banks: int

    @property
    def rows(self) -> int:
        """The number of rows in all banks."""
        return self.down * self.banks


@dataclass(frozen=True)
class Pairs:
    """The layout of ``across`` x ``down`` pairs of pictures that are ``dots`` dots wide.

    ``stacked``: the first of a pair is above the second, else at its left.
    """

    dots: int
    across: int
    down: int
    stacked: bool

    @property
    def count(self) -> int:
        """The number of pairs in the layout."""
        return self.across * self.down


def label_width(labels: Sequence[str]) -> int:
    """Columns for the labels at the left of the rows, with a space behind them; 0 for none."""
    return min(max(map(len, labels), default=-1), LONGEST_LABEL) + 1


def fit_table(
    columns: int, rows: int, native: int, count: int, most: int, label: int, glyphs: Glyphs
) -> Table:
    """The table with the most of ``count`` rows, then the most pictures, then the largest ones.

    ``most``: pictures in a row. ``label``: columns for labels. Where no size fits, the smallest is
    used.
    """
    (across_a_cell, down_a_cell), choices = glyphs.dots, []
    sizes = glyphs.sizes(native)
    most_dots = min((columns - label) * across_a_cell, rows * down_a_cell)
    for dots in [size for size in sizes if size <= most_dots] or sizes[-1:]:
        down = max(1, rows * down_a_cell // dots)
        bank = label + glyphs.columns(dots) + _BANK_GAP
        for banks in range(1, max(1, (columns + _BANK_GAP) // bank) + 1):
            width = (columns + _BANK_GAP) // banks - _BANK_GAP
            across = max(1, min(most, (width - label) * across_a_cell // dots))
            needed = -(-count // banks)
            choices.append(Table(dots, across, min(down, needed), banks))
    return max(choices, key=lambda t: (min(t.rows, count), t.across, t.dots, -t.banks))


def fit_walk(columns: int, rows: int, native: int, count: int, steps: int, glyphs: Glyphs) -> Table:
    """The layout with the most steps of a walk at even distances, both ends included."""
    room, sizes = columns * glyphs.dots[0], glyphs.sizes(native)
    least = sizes[-1]
    even = [n for n in range(steps, 1, -1) if (steps - 1) % (n - 1) == 0]
    across = next((n for n in even if n * least <= room), even[-1])
    dots = next((size for size in sizes if size <= room // across), least)
    return Table(dots, across, min(count, max(1, rows * glyphs.dots[1] // dots)), 1)


def draw_table(
    images: NDArray[np.uint8], in_row: int, labels: Sequence[str], table: Table, glyphs: Glyphs
) -> Cells:
    """The first rows of pictures (n, h, w, c), ``in_row`` in each, with labels at the left.

    Where fewer than ``in_row`` fit, they are the first ones, or those at even distances if both
    ends can be among them.
    """
    count = min(len(images) // in_row, table.rows)
    if table.across < in_row and (in_row - 1) % max(1, table.across - 1) == 0:
        columns = np.linspace(0, in_row - 1, table.across).round().astype(int)
    else:
        columns = np.arange(table.across)
    places = np.arange(count)[:, None] * in_row + columns
    size, label = table.dots, label_width(labels)
    tiles = resized(images[places.ravel()], size, glyphs)
    _, tall, broad, channels = tiles.shape
    tiles = tiles.reshape(count, table.across, tall, broad, channels).transpose(0, 2, 1, 3, 4)
    strips = tiles.reshape(count * tall, table.across * broad, channels)
    bank = label + glyphs.columns(table.across * size) + _BANK_GAP
    down = min(table.down, count)
    cells = Cells(glyphs.rows(down * size), table.banks * bank - _BANK_GAP)
    for first in range(0, count, down):
        left, shown = first // down * bank, strips[first * tall : (first + down) * tall]
        cells.inset(draw_picture(shown, glyphs, size // tall), 0, left + label)
        for row, text in enumerate(labels[first : first + down][: count - first]):
            at = (row * size + size // 2) // glyphs.dots[1]
            cells.write(at, left, f"{text[: label - 1]:>{label - 1}}", style(palette.DIM))
    return cells


def fit_pairs(columns: int, rows: int, native: int, most: int, glyphs: Glyphs) -> Pairs:
    """The layout with the largest pairs of which enough fit, each above a row for a caption."""

    def room(dots: int, stacked: bool) -> Pairs:
        wide, tall = _pair_size(dots, stacked, glyphs)
        across = min(most, columns // wide if stacked else (columns + _PAIR_GAP) // wide)
        down = rows // tall
        return Pairs(dots, across, min(down, -(-most // max(1, across))), stacked)

    sizes = glyphs.sizes(native)
    choices = [room(dots, stacked) for dots in sizes for stacked in (True, False)]
    enough = min(ENOUGH_PAIRS, max(choice.count for choice in choices))
    if not enough:
        return Pairs(sizes[-1], 1, 1, True)
    return next(choice for choice in choices if choice.count >= enough)


def _pair_size(dots: int, stacked: bool, glyphs: Glyphs) -> tuple[int, int]:
    """Cells that a pair takes, (across, down), with the gap beside it and the caption below."""
    if stacked:
        return glyphs.columns(dots), glyphs.rows(2 * dots) + 1
    return glyphs.columns(2 * dots) + _PAIR_GAP, glyphs.rows(dots) + 1


def draw_pairs(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    words: Sequence[str],
    pairs: Pairs,
    glyphs: Glyphs,
) -> Cells:
    """Pairs of pictures (n, h, w, c), with one of ``words`` below each pair."""
    size, count = pairs.dots, min(len(first), pairs.count)
    axis = 1 if pairs.stacked else 2
    sized = [resized(pictures[:count], size, glyphs) for pictures in (first, second)]
    both = np.concatenate(sized, axis=axis)
    wide, tall = _pair_size(size, pairs.stacked, glyphs)
    gap = 0 if pairs.stacked else _PAIR_GAP
    cells = Cells(pairs.down * tall, pairs.across * wide - gap)
    for place, picture in enumerate(both):
        top, left = place // pairs.across * tall, place % pairs.across * wide
        cells.inset(draw_picture(picture, glyphs, size // sized[0].shape[1]), top, left)
        word = f"{words[place]:^{wide - gap}}"
        cells.write(top + tall - 1, left, word, style(palette.DIM))
    return cells


def draw_grid(
    images: NDArray[np.uint8], columns: int, rows: int, glyphs: Glyphs, enough: int = ENOUGH
) -> Cells:
    """As many of the pictures (n, h, w, c) as fit; larger ones as long as ``enough`` fit."""
    grid = fit(columns, rows, images.shape[2], len(images), glyphs, enough)
    picture = mosaic(images, grid, glyphs)
    return draw_picture(picture, glyphs, grid.dots * grid.down // len(picture))
