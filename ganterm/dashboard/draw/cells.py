"""Grids of characters and styles, the form in which panels are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import get_character_cell_size as cells_of
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from ganterm.dashboard.draw.looks import BLANK, LOOKS, number_of
from ganterm.dashboard.palette import heading, style

STAND_IN = "?"
"""Shown in place of a character that does not take exactly one cell."""


@dataclass(frozen=True, eq=False)
class Inlay:
    """A picture in the terminal's pixels, (height, width, 1 or 3), enlarged ``scale`` times.

    Its upper left corner lies on the cell at ``row`` and ``column``.
    """

    row: int
    column: int
    pixels: NDArray[np.uint8]
    scale: int

    @property
    def size(self) -> tuple[int, int]:
        """Its size on the screen, (height, width) in the terminal's pixels."""
        height, width, _ = self.pixels.shape
        return height * self.scale, width * self.scale

    @property
    def place(self) -> tuple[int, ...]:
        """Its position and size."""
        return self.row, self.column, *self.size


class Cells:
    """A grid of ``rows`` x ``columns`` characters, each with the number of a style.

    Neighbours of one style become one segment, because each segment costs time in Textual and
    bytes on the link. ``inlays`` lie over blank cells.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.chars: NDArray[np.str_] = np.full((rows, columns), " ", dtype="<U1")
        self.styles: NDArray[np.int32] = np.full((rows, columns), BLANK, np.int32)
        self.inlays: list[Inlay] = []

    @classmethod
    def of(
        cls, chars: NDArray[np.str_], indices: NDArray[np.intp], styles: Sequence[Style]
    ) -> Cells:
        """A grid of ``chars``; ``indices``, of the same shape, are places in ``styles``."""
        numbers = np.array([number_of(look) for look in styles], np.int32)
        return cls._from_arrays(chars, numbers[indices])

    @classmethod
    def _from_arrays(cls, chars: NDArray[np.str_], styles: NDArray[np.int32]) -> Cells:
        cells = cls.__new__(cls)
        cells.chars, cells.styles, cells.inlays = chars, styles, []
        return cells

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.chars.shape
        return rows, columns

    def copy(self) -> Cells:
        """An equal grid that can be drawn on without changing this one."""
        cells = self._from_arrays(self.chars.copy(), self.styles.copy())
        cells.inlays = list(self.inlays)
        return cells

    def inset(self, other: Cells, row: int, column: int) -> None:
        """Put another grid into this one; it must fit."""
        rows, columns = other.size
        place = (slice(row, row + rows), slice(column, column + columns))
        self.chars[place] = other.chars
        self.styles[place] = other.styles
        for inlay in other.inlays:
            moved = replace(inlay, row=inlay.row + row, column=inlay.column + column)
            self.inlays.append(moved)

    def cut(self, rows: int, columns: int) -> Cells:
        """The upper left part of at most this size; a part smaller than the grid has no inlays."""
        cells = self._from_arrays(self.chars[:rows, :columns], self.styles[:rows, :columns])
        if cells.size == self.size:
            cells.inlays = self.inlays
        return cells

    def part(self, start: int, stop: int) -> Cells:
        """The existing rows from ``start`` to before ``stop``."""
        return self._from_arrays(self.chars[start:stop], self.styles[start:stop])

    def title(self, text: str, row: int = 0) -> None:
        """Make a row a title row that begins with ``text``."""
        self.write(row, 0, " " * self.size[1], heading())
        self.write(row, 0, text, heading(bold=True))

    def write(self, row: int, column: int, text: str, look: Style) -> None:
        """Put ``text`` at a place, one character per cell; the part outside the grid is left out.

        A control character, or one that does not take exactly one cell, becomes ``STAND_IN``.
        """
        rows, columns = self.size
        if not 0 <= row < rows:
            return
        if column < 0 or column + len(text) > columns:
            text = text[max(0, -column) : max(0, columns - column)]
            column = max(0, column)
        if not (text.isascii() and text.isprintable()):
            text = "".join(char if cells_of(char) == 1 else STAND_IN for char in text)
        place = row, slice(column, column + len(text))
        self.chars[place] = np.frombuffer(text.encode("utf-32-le", "replace"), "<U1")
        self.styles[place] = number_of(look)

    def put(self, where: NDArray[np.bool_], chars: NDArray[np.str_] | str, look: Style) -> None:
        """Put characters at all places where ``where``, of the grid's shape, is True."""
        self.chars[where] = chars if isinstance(chars, str) else chars[where]
        self.styles[where] = number_of(look)

    def strips(self) -> list[Strip]:
        """A Strip for each row, with a segment for each run of one style."""
        rows, columns = self.size
        text = np.ascontiguousarray(self.chars, "<U1").tobytes().decode("utf-32-le")
        turns = np.ones((rows, columns), bool)
        turns[:, 1:] = self.styles[:, 1:] != self.styles[:, :-1]
        starts = np.flatnonzero(turns)
        looks = [LOOKS[number] for number in self.styles.ravel()[starts].tolist()]
        places = [*starts.tolist(), rows * columns]
        segments = list(map(Segment, [text[a:b] for a, b in pairwise(places)], looks))
        ends = np.count_nonzero(turns, axis=1).cumsum().tolist()
        return [Strip(segments[a:b], columns) for a, b in pairwise([0, *ends])]


def padded(row: Strip, left: int, right: int) -> Strip:
    """A row with blank cells before and after it, joined with a neighbouring blank segment."""
    ground, segments = style(), list(row)
    if left:
        joined = bool(segments) and segments[0].style is ground
        text = " " * left + (segments[0].text if joined else "")
        segments[:joined] = [Segment(text, ground)]
    if right:
        joined = bool(segments) and segments[-1].style is ground
        text = (segments[-1].text if joined else "") + " " * right
        segments[len(segments) - joined :] = [Segment(text, ground)]
    return Strip(segments, row.cell_length + left + right)
