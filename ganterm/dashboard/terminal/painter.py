"""What changed of grids of cells, as the sequence that brings a terminal up to date.

Textual composes a screen from Strips, which costs as much as all our drawing: for each row it
cuts, joins and styles anew. A panel that nothing covers needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from rich.color import ColorSystem
from rich.style import Style

from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.looks import LOOKS

BRIDGED = 6
"""Unchanged cells in a row that are sent again: to go past them costs as many bytes."""

MOST_CELLS = 1 << 14
"""Cells that are compared at once, but for a larger grid: a whole screen of 200 x 60."""


@dataclass(frozen=True, eq=False)
class Change:
    """Two grids of one size, and where on the terminal both begin, from 0."""

    before: Cells
    after: Cells
    row: int
    column: int


class Painter:
    """Makes the sequences, for terminals with one system of colours.

    ``shown``: the style that stands for one of ours, as where there are no colours at all.
    """

    def __init__(
        self, system: ColorSystem, shown: Callable[[Style], Style] = lambda look: look
    ) -> None:
        self._system = system
        self._shown = shown
        # Place 0 is what a reset leaves: no codes at all. The styles follow in their order.
        self._code_numbers = {"": 0}
        self._parts = np.zeros((1, 3), np.int32)
        self._said: list[tuple[str, ...]] = [("",) * 5]

    def sequence(self, changes: Sequence[Change]) -> str:
        """What turns each ``before`` into its ``after``, "" where nothing looks different.

        Attributes are left as by a reset.
        """
        return "".join(map(self._together, _portions(changes)))

    def _together(self, changes: Sequence[Change]) -> str:
        """The same for grids that go through NumPy together: calls are the cost."""
        chars, styles = _joined([change.after for change in changes])
        old_chars, old_styles = _joined([change.before for change in changes])
        differs = (chars != old_chars) | (styles != old_styles)
        changed = np.flatnonzero(differs)
        if not len(changed):
            return ""
        down, right = _places(changes, changed)
        firsts, lasts = _stretches(changed, down, right)
        begins, ends, jumps = _runs(changed[firsts], changed[lasts], styles)
        moves = [""] * len(begins)
        places = zip(jumps.tolist(), down[firsts].tolist(), right[firsts].tolist(), strict=True)
        for place, y, x in places:
            moves[place] = f"\x1b[{y + 1};{x + 1}H"
        text = chars.tobytes().decode("utf-32-le")
        texts = [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
        turns = self._turns(styles[begins])
        return "".join(chain.from_iterable(zip(moves, turns, texts, strict=True))) + "\x1b[0m"

    def _turns(self, wanted: NDArray[np.int32]) -> list[str]:
        """What goes from style to style, from a reset on; only what differs is said."""
        self._learn()
        new = wanted + 1
        old = np.concatenate([[0], new[:-1]])
        parts, before = self._parts[new], self._parts[old]
        differs = parts != before
        # Bits: foreground, background; where an attribute or a colour must go, everything is said.
        ways = differs[:, 1] + 2 * differs[:, 2]
        gone = (differs & (parts == 0)).any(axis=1)
        ways[differs[:, 0] | gone] = 4
        said = self._said
        return [said[look][way] for look, way in zip(new.tolist(), ways.tolist(), strict=True)]

    def _learn(self) -> None:
        """Make the sequences of the styles that are new since the last time."""
        learned = []
        for look in LOOKS[len(self._said) - 1 :]:
            seen = self._shown(look)
            split = seen.without_color, Style(color=seen.color), Style(bgcolor=seen.bgcolor)
            codes = [_codes(part, self._system) for part in split]
            numbers = self._code_numbers
            learned.append([numbers.setdefault(code, len(numbers)) for code in codes])
            _, front, ground = codes
            everything = _sgr("0", *filter(None, codes))
            self._said.append(("", _sgr(front), _sgr(ground), _sgr(front, ground), everything))
        if learned:
            self._parts = np.concatenate([self._parts, np.array(learned, np.int32)])


def _portions(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Changes as many at a time as do not take much memory together."""
    portion: list[Change] = []
    cells = 0
    for change in changes:
        if portion and cells + change.after.chars.size > MOST_CELLS:
            yield portion
            portion, cells = [], 0
        portion.append(change)
        cells += change.after.chars.size
    if portion:
        yield portion


def _joined(grids: Sequence[Cells]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """The code points and the styles of all cells, row after row, grid after grid."""
    chars = np.concatenate([grid.chars.ravel() for grid in grids]).astype("<U1", copy=False)
    return chars.view(np.uint32), np.concatenate([grid.styles.ravel() for grid in grids])


def _places(
    changes: Sequence[Change], cells: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The terminal's row and column, from 0, of places in the joined grids."""
    sizes = [change.after.size for change in changes]
    starts = np.cumsum([0, *(rows * columns for rows, columns in sizes)])[:-1]
    of = np.searchsorted(starts, cells, side="right") - 1
    columns = np.array([columns for _, columns in sizes])
    down, right = np.divmod(cells - starts[of], columns[of])
    corners = np.array([(change.row, change.column) for change in changes])
    return down + corners[of, 0], right + corners[of, 1]


def _stretches(
    changed: NDArray[np.intp], down: NDArray[np.intp], right: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first and the last, among the changed cells, of each stretch with short gaps only.

    A stretch lies within a row of a grid: elsewhere the columns do not go on as the places do.
    """
    gap = np.diff(changed)
    apart = (gap > BRIDGED + 1) | (down[1:] != down[:-1]) | (np.diff(right) != gap)
    ends = np.flatnonzero(apart)
    return np.append(0, ends + 1), np.append(ends, len(changed) - 1)


def _runs(
    firsts: NDArray[np.intp], lasts: NDArray[np.intp], styles: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The stretches cut into runs of one style: where each begins and ends.

    And which of them are a stretch's first, to which the cursor must jump.
    """
    turns = np.flatnonzero(styles[1:] != styles[:-1]) + 1
    stretch = np.searchsorted(lasts, turns)
    inside = stretch < len(lasts)
    turns, stretch = turns[inside], stretch[inside]
    begins = np.sort(np.concatenate([firsts, turns[turns > firsts[stretch]]]))
    ends = np.minimum(np.append(begins[1:], styles.size), lasts[np.searchsorted(lasts, begins)] + 1)
    return begins, ends, np.searchsorted(begins, firsts)


def _codes(look: Style, system: ColorSystem) -> str:
    """The numbers of the SGR sequence that Rich makes of a style."""
    before, _, _ = look.render("x", color_system=system).partition("x")
    return before.removeprefix("\x1b[").removesuffix("m")


def _sgr(*codes: str) -> str:
    return f"\x1b[{';'.join(codes)}m"
