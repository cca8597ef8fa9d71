"""Grids of characters and styles, as the terminal takes them."""

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


@dataclass(frozen=True, eq=False)
class Inlay:
    """A picture in real pixels (height, width, 1 or 3) whose corner lies on a cell, enlarged."""

    row: int
    column: int
    pixels: NDArray[np.uint8]
    scale: int

    @property
    def size(self) -> tuple[int, int]:
        """The terminal's pixels that it takes, (height, width)."""
        height, width, _ = self.pixels.shape
        return height * self.scale, width * self.scale

    @property
    def place(self) -> tuple[int, ...]:
        """All but what it shows."""
        return self.row, self.column, *self.size


class Cells:
    """A grid of ``rows`` x ``columns`` characters, each with the number of a style.

    Equal neighbours become one segment: Textual pays for each segment, and so does the link.
    ``inlays`` lie over cells that are blank.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.chars: NDArray[np.str_] = np.full((rows, columns), " ", dtype="<U1")
        self.styles: NDArray[np.int32] = np.full((rows, columns), BLANK, np.int32)
        self.inlays: list[Inlay] = []

    @classmethod
    def of(
        cls, chars: NDArray[np.str_], indices: NDArray[np.intp], styles: Sequence[Style]
    ) -> Cells:
        """A grid of these characters, each with its place in ``styles``."""
        numbers = np.array([number_of(look) for look in styles], np.int32)
        return cls._made(chars, numbers[indices])

    @classmethod
    def _made(cls, chars: NDArray[np.str_], styles: NDArray[np.int32]) -> Cells:
        made = cls.__new__(cls)
        made.chars, made.styles, made.inlays = chars, styles, []
        return made

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.chars.shape
        return rows, columns

    def copy(self) -> Cells:
        """A grid that looks the same, to be drawn on."""
        made = self._made(self.chars.copy(), self.styles.copy())
        made.inlays = list(self.inlays)
        return made

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
        """The upper left part of at most this size; an inlay is never cut, but left out."""
        made = self._made(self.chars[:rows, :columns], self.styles[:rows, :columns])
        if made.size == self.size:
            made.inlays = self.inlays
        return made

    def part(self, start: int, stop: int) -> Cells:
        """The rows from ``start`` to ``stop``, as far as there are."""
        return self._made(self.chars[start:stop], self.styles[start:stop])

    def title(self, text: str, row: int = 0) -> None:
        """Make a row a title row that begins with ``text``."""
        self.write(row, 0, " " * self.size[1], heading())
        self.write(row, 0, text, heading(bold=True))

    def write(self, row: int, column: int, text: str, look: Style) -> None:
        """Put ``text`` at a place, a character a cell; what falls outside is left out.

        What would take two cells, or none, or is a control character, is shown as ``STAND_IN``.
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
        """Put characters at all places of a mask of the grid's shape."""
        self.chars[where] = chars if isinstance(chars, str) else chars[where]
        self.styles[where] = number_of(look)

    def strips(self) -> list[Strip]:
        """One Strip a row, with a segment for each run of one style."""
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
    """A row with blank cells before and after it, in one segment with what is blank there too."""
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
