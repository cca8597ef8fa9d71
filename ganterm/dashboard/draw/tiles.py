"""Pictures that belong together: rows of a kind with a label each, and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.picture import ENOUGH, LEAST, draw_picture, fit, mosaic, resized
from ganterm.dashboard.palette import style

LONGEST_LABEL = 8
ENOUGH_PAIRS = 8
_BANK_GAP = 2
_PAIR_GAP = 2


@dataclass(frozen=True)
class Table:
    """Rows of ``across`` pictures, ``down`` rows in each of ``banks``, side by side as in print."""

    pixels: int
    across: int
    down: int
    banks: int

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return self.down * self.banks


@dataclass(frozen=True)
class Pairs:
    """``across`` x ``down`` pairs; ``stacked``: one picture over the other, else beside it."""

    pixels: int
    across: int
    down: int
    stacked: bool

    @property
    def count(self) -> int:
        """How many pairs there is room for."""
        return self.across * self.down


def label_width(labels: Sequence[str]) -> int:
    """Cells that labels need at the left of their rows, with the space behind them."""
    return min(max(map(len, labels), default=-1), LONGEST_LABEL) + 1


def fit_table(columns: int, rows: int, native: int, count: int, most: int, label: int) -> Table:
    """Room for as many of ``count`` rows as can be, then for pictures in them, then for size.

    ``most`` is the number of pictures of a row. Never below LEAST pixels where that fits at all.
    """
    choices = []
    largest = max(LEAST, min(native, columns - label, 2 * rows))
    for pixels in range(largest, LEAST - 1, -1):
        down = max(1, 2 * rows // pixels)
        for banks in range(1, max(1, (columns + _BANK_GAP) // (label + pixels + _BANK_GAP)) + 1):
            width = (columns + _BANK_GAP) // banks - _BANK_GAP
            across = max(1, min(most, (width - label) // pixels))
            needed = -(-count // banks)
            choices.append(Table(pixels, across, min(down, needed), banks))
    return max(choices, key=lambda t: (min(t.rows, count), t.across, t.pixels, -t.banks))


def fit_walk(columns: int, rows: int, native: int, count: int, steps: int) -> Table:
    """As many steps of a walk as can be shown at even distances, both ends among them."""
    even = [n for n in range(steps, 1, -1) if (steps - 1) % (n - 1) == 0]
    across = next((n for n in even if n * LEAST <= columns), even[-1])
    pixels = max(LEAST, min(native, columns // across))
    return Table(pixels, across, min(count, max(1, 2 * rows // pixels)), 1)


def draw_table(
    images: NDArray[np.uint8], in_row: int, labels: Sequence[str], table: Table, glyphs: Glyphs
) -> Cells:
    """The first rows of pictures (n, h, w, c) of which ``in_row`` make a row, labels at the left.

    Where fewer fit, they are taken from the row at even distances.
    """
    count = min(len(images) // in_row, table.rows)
    if table.across < in_row and (in_row - 1) % max(1, table.across - 1) == 0:
        chosen = np.linspace(0, in_row - 1, table.across).round().astype(int)
    else:
        chosen = np.arange(table.across)
    places = np.arange(count)[:, None] * in_row + chosen
    size, label, wide = table.pixels, label_width(labels), glyphs.wide
    tiles = resized(images[places.ravel()], size, wide)
    tiles = tiles.reshape(count, table.across, size, wide * size, -1)
    strips = tiles.transpose(0, 2, 1, 3, 4).reshape(count, size, table.across * wide * size, -1)
    bank = label + table.across * size + _BANK_GAP
    down = min(table.down, count)
    height, width = down * size + down * size % 2, wide * (table.banks * bank - _BANK_GAP)
    canvas = np.full((height, width, strips.shape[3]), np.nan, np.float32)
    written = []
    for row, strip in enumerate(strips):
        left, top = row // table.down * bank, row % table.down * size
        start = wide * (left + label)
        canvas[top : top + size, start : start + strip.shape[1]] = strip
        if row < len(labels):
            written.append(((top + size // 2) // 2, left, labels[row]))
    cells = draw_picture(canvas, glyphs)
    for at, left, text in written:
        cells.write(at, left, f"{text[: label - 1]:>{label - 1}}", style(palette.DIM))
    return cells


def fit_pairs(columns: int, rows: int, native: int, most: int) -> Pairs:
    """The largest pairs of which enough fit, each with a row for a few words below it."""

    def room(pixels: int, stacked: bool) -> Pairs:
        wide, tall = _pair_size(pixels, stacked)
        across = min(most, columns // wide if stacked else (columns + _PAIR_GAP) // wide)
        down = rows // tall
        return Pairs(pixels, across, min(down, -(-most // max(1, across))), stacked)

    sizes = range(max(native, LEAST), LEAST - 1, -1)
    choices = [room(pixels, stacked) for pixels in sizes for stacked in (True, False)]
    enough = min(ENOUGH_PAIRS, max(choice.count for choice in choices))
    found = next(choice for choice in choices if choice.count >= enough)
    return found if enough else Pairs(LEAST, 1, 1, True)


def _pair_size(pixels: int, stacked: bool) -> tuple[int, int]:
    """Cells that a pair takes, (across, down), with a gap beside it and a row of words below."""
    if stacked:
        return pixels, pixels + 1
    return 2 * pixels + _PAIR_GAP, -(-pixels // 2) + 1


def draw_pairs(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    words: Sequence[str],
    pairs: Pairs,
    glyphs: Glyphs,
) -> Cells:
    """Pictures (n, h, w, c), each with its other and a word below the two."""
    size, count = pairs.pixels, min(len(first), pairs.count)
    axis = 1 if pairs.stacked else 2
    sized = [resized(pictures[:count], size, glyphs.wide) for pictures in (first, second)]
    both = np.concatenate(sized, axis=axis)
    wide, tall = _pair_size(size, pairs.stacked)
    gap = 0 if pairs.stacked else _PAIR_GAP
    cells = Cells(pairs.down * tall, pairs.across * wide - gap)
    for place, picture in enumerate(both):
        top, left = place // pairs.across * tall, place % pairs.across * wide
        cells.inset(draw_picture(picture, glyphs), top, left)
        word = f"{words[place]:^{picture.shape[1] // glyphs.wide}}"
        cells.write(top + tall - 1, left, word, style(palette.DIM))
    return cells


def draw_grid(
    images: NDArray[np.uint8], columns: int, rows: int, glyphs: Glyphs, enough: int = ENOUGH
) -> Cells:
    """As many of the pictures (n, h, w, c) as fit, drawn larger where ``enough`` do."""
    grid = fit(columns, rows, images.shape[2], len(images), enough)
    return draw_picture(mosaic(images, grid, glyphs.wide), glyphs)
