"""Every style that is drawn with, by number: whole grids of numbers are compared at once.

Numbers are never taken back. There are some hundred styles, and of the pairs of colours that
pictures are drawn in at most 217 x 217, which would take 16 MB, and 28 with the sequences that a
painter makes of them. One thread draws.
"""

from __future__ import annotations

from rich.style import Style

from ganterm.dashboard.palette import style

LOOKS: list[Style] = []
"""The styles, each at its number."""
_NUMBERS: dict[Style, int] = {}
# Rich hashes a style by a call into Python; those in LOOKS live for good and are told by identity.
_SAME: dict[int, int] = {}


def number_of(look: Style) -> int:
    """The number that stands for a style, and for all that are equal to it."""
    known = _SAME.get(id(look))
    if known is not None:
        return known
    number = _NUMBERS.setdefault(look, len(LOOKS))
    if number == len(LOOKS):
        LOOKS.append(look)
        _SAME[id(look)] = number
    return number


BLANK = number_of(style())
"""What cells are drawn with where nothing is."""
