"""The changes of grids of cells, as the sequence that brings a terminal up to date.

Textual composes a screen from Strips, which takes as long as all our drawing, because it cuts,
joins and styles each row again. A panel that nothing covers needs none of that.
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
"""Most unchanged cells in a row that are sent again; moving the cursor past them costs as many
bytes."""

MOST_CELLS = 1 << 14
"""Most cells that are compared at once, enough for a screen of 200 x 60. A larger grid is compared
alone."""


@dataclass(frozen=True, eq=False)
class Change:
    """Two grids of one size, and the terminal's row and column where both begin, from 0."""

    before: Cells
    after: Cells
    row: int
    column: int


class Painter:
    """Makes the sequences for a terminal with the colours of ``system``.

    ``shown`` replaces each style before it is drawn, for example by one without colours.
    """

    def __init__(
        self, system: ColorSystem, shown: Callable[[Style], Style] = lambda look: look
    ) -> None:
        self._system = system
        self._shown = shown
        # Place 0 stands for the state after a reset, without codes. The styles follow in order.
        self._code_numbers = {"": 0}
        self._parts = np.zeros((1, 3), np.int32)
        self._sequences: list[tuple[str, ...]] = [("",) * 5]

    def sequence(self, changes: Sequence[Change]) -> str:
        """The sequence that turns each ``before`` into its ``after``; "" where all look equal.

        It ends with a reset of all attributes.
        """
        return "".join(map(self._sequence, _portions(changes)))

    def _sequence(self, changes: Sequence[Change]) -> str:
        """The sequence for grids that go through NumPy together, to save calls."""
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

    def _turns(self, styles: NDArray[np.int32]) -> list[str]:
        """The sequences from each style to the next, after a reset, with only what differs."""
        self._add_styles()
        new = styles + 1
        old = np.concatenate([[0], new[:-1]])
        parts, before = self._parts[new], self._parts[old]
        differs = parts != before
        # Bits: 1 sets the foreground, 2 the background. Where an attribute or a colour ends, 4
        # resets and sets everything.
        ways = differs[:, 1] + 2 * differs[:, 2]
        gone = (differs & (parts == 0)).any(axis=1)
        ways[differs[:, 0] | gone] = 4
        sequences = self._sequences
        return [sequences[look][way] for look, way in zip(new.tolist(), ways.tolist(), strict=True)]

    def _add_styles(self) -> None:
        """Make the sequences of the styles that are new since the last call."""
        new_parts = []
        for look in LOOKS[len(self._sequences) - 1 :]:
            shown = self._shown(look)
            split = shown.without_color, Style(color=shown.color), Style(bgcolor=shown.bgcolor)
            codes = [_codes(part, self._system) for part in split]
            numbers = self._code_numbers
            new_parts.append([numbers.setdefault(code, len(numbers)) for code in codes])
            _, front, ground = codes
            everything = _sgr("0", *filter(None, codes))
            self._sequences.append(("", _sgr(front), _sgr(ground), _sgr(front, ground), everything))
        if new_parts:
            self._parts = np.concatenate([self._parts, np.array(new_parts, np.int32)])


def _portions(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """The changes in portions of at most ``MOST_CELLS`` cells."""
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
    """The terminal's rows and columns, from 0, of places in the joined grids."""
    sizes = [change.after.size for change in changes]
    starts = np.cumsum([0, *(rows * columns for rows, columns in sizes)])[:-1]
    grid = np.searchsorted(starts, cells, side="right") - 1
    columns = np.array([columns for _, columns in sizes])
    down, right = np.divmod(cells - starts[grid], columns[grid])
    corners = np.array([(change.row, change.column) for change in changes])
    return down + corners[grid, 0], right + corners[grid, 1]


def _stretches(
    changed: NDArray[np.intp], down: NDArray[np.intp], right: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first and the last place, among the changed cells, of each stretch with short gaps only.

    A stretch lies within one row of a grid, because only there do columns increase as places do.
    """
    gap = np.diff(changed)
    apart = (gap > BRIDGED + 1) | (down[1:] != down[:-1]) | (np.diff(right) != gap)
    ends = np.flatnonzero(apart)
    return np.append(0, ends + 1), np.append(ends, len(changed) - 1)


def _runs(
    firsts: NDArray[np.intp], lasts: NDArray[np.intp], styles: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The stretches cut into runs of one style: the beginnings and the ends of the runs.

    The third array holds the runs that begin a stretch, to which the cursor must jump.
    """
    turns = np.flatnonzero(styles[1:] != styles[:-1]) + 1
    stretch = np.searchsorted(lasts, turns)
    inside = stretch < len(lasts)
    turns, stretch = turns[inside], stretch[inside]
    begins = np.sort(np.concatenate([firsts, turns[turns > firsts[stretch]]]))
    ends = np.minimum(np.append(begins[1:], styles.size), lasts[np.searchsorted(lasts, begins)] + 1)
    return begins, ends, np.searchsorted(begins, firsts)


def _codes(look: Style, system: ColorSystem) -> str:
    """The numbers in the SGR sequence that Rich renders for a style."""
    before, _, _ = look.render("x", color_system=system).partition("x")
    return before.removeprefix("\x1b[").removesuffix("m")


def _sgr(*codes: str) -> str:
    return f"\x1b[{';'.join(codes)}m"
