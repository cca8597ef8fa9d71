"""What changed of a grid of cells, as the sequences that bring a terminal up to date.

Textual composes a screen from Strips, which costs as much as all our drawing: for each row it
cuts, joins and styles anew. A panel that nothing covers needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from rich.color import ColorSystem
from rich.style import Style

from ganterm.dashboard.draw.cells import Cells

BRIDGED = 6
"""Unchanged cells in a row that are sent again: to go past them costs as many bytes."""
MOST_LOOKS = 1 << 15
"""Styles that are remembered at most, before all are forgotten; of grey pictures there are 300."""


class Painter:
    """Makes the sequences, for terminals with one system of colours.

    ``shown``: the style that stands for one of ours, as where there are no colours at all.
    """

    def __init__(
        self, system: ColorSystem, shown: Callable[[Style], Style] = lambda look: look
    ) -> None:
        self._system = system
        self._shown = shown
        self._forget()

    def sequence(self, before: Cells, after: Cells, row: int, column: int) -> str:
        """What turns ``before`` into ``after``, two grids of one size, "" where they look the same.

        ``row`` and ``column``, from 0, are where the grid begins on the terminal. Attributes are
        left as by a reset.
        """
        changed = np.flatnonzero(after.differs(before))
        if not len(changed):
            return ""
        styles, columns = after.styles.ravel(), after.size[1]
        begins, ends, jumps = _runs(changed, styles, columns)
        down, right = np.divmod(begins[jumps], columns)
        places = zip(np.flatnonzero(jumps).tolist(), down.tolist(), right.tolist(), strict=True)
        moves = [""] * len(begins)
        for place, y, x in places:
            moves[place] = f"\x1b[{row + y + 1};{column + x + 1}H"
        text = after.text
        texts = [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
        turns = self._turns(after.looks, styles[begins])
        return "".join(chain.from_iterable(zip(moves, turns, texts, strict=True))) + "\x1b[0m"

    def _turns(self, looks: list[Style], wanted: NDArray[np.int32]) -> list[str]:
        """What goes from style to style, from a reset on; only what differs is said.

        ``wanted``: the place in ``looks`` of each.
        """
        if len(self._known) + len(looks) > MOST_LOOKS:
            self._forget()
        new = np.array([self._number(look) for look in looks])[wanted]
        old = np.concatenate([[0], new[:-1]])
        parts = np.array(self._parts)
        differs = parts[new] != parts[old]
        # Bits: foreground, background; where an attribute or a colour must go, everything is said.
        ways = differs[:, 1] + 2 * differs[:, 2]
        gone = (differs & (parts[new] == 0)).any(axis=1)
        ways[differs[:, 0] | gone] = 4
        said = self._said
        return [said[look][way] for look, way in zip(new.tolist(), ways.tolist(), strict=True)]

    def _number(self, look: Style) -> int:
        """The number of a style; its sequences are made when it is seen for the first time."""
        known = self._known.get(look)
        if known is not None:
            return known
        seen = self._shown(look)
        split = seen.without_color, Style(color=seen.color), Style(bgcolor=seen.bgcolor)
        codes = [_codes(part, self._system) for part in split]
        self._parts.append(
            tuple(self._code_numbers.setdefault(code, len(self._code_numbers)) for code in codes)
        )
        _, front, ground = codes
        self._said.append(
            ("", _sgr(front), _sgr(ground), _sgr(front, ground), _sgr("0", *filter(None, codes)))
        )
        return self._known.setdefault(look, len(self._known))

    def _forget(self) -> None:
        # Number 0 is what a reset leaves: no codes at all.
        self._code_numbers = {"": 0}
        self._known: dict[Style | None, int] = {None: 0}
        self._parts: list[tuple[int, ...]] = [(0, 0, 0)]
        self._said: list[tuple[str, ...]] = [("",) * 5]


def _runs(
    changed: NDArray[np.intp], styles: NDArray[np.int32], columns: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Runs of one style that cover all changed places of a flat grid, short gaps included.

    Where each begins and ends, and whether the cursor must jump to it.
    """
    row = changed // columns
    apart = (np.diff(changed) > BRIDGED + 1) | (row[1:] != row[:-1])
    firsts = changed[np.append(True, apart)]
    lasts = changed[np.append(apart, True)]
    turns = np.flatnonzero(styles[1:] != styles[:-1]) + 1
    stretch = np.searchsorted(lasts, turns)
    turns, stretch = turns[stretch < len(lasts)], stretch[stretch < len(lasts)]
    begins = np.sort(np.concatenate([firsts, turns[turns > firsts[stretch]]]))
    stretch = np.searchsorted(lasts, begins)
    ends = np.minimum(np.append(begins[1:], styles.size), lasts[stretch] + 1)
    return begins, ends, begins == firsts[stretch]


def _codes(look: Style, system: ColorSystem) -> str:
    """The numbers of the SGR sequence that Rich makes of a style."""
    before, _, _ = look.render("x", color_system=system).partition("x")
    return before.removeprefix("\x1b[").removesuffix("m")


def _sgr(*codes: str) -> str:
    return f"\x1b[{';'.join(codes)}m"
