"""A number for every style, so that whole grids of styles can be compared at once.

A style keeps its number for good. The panels use some hundred styles. Pictures add at most
217 x 217 pairs of colours, which would take 16 MB, or 28 MB with a painter's sequences for them.
Only one thread draws.
"""

from __future__ import annotations

from rich.style import Style

from ganterm.dashboard.palette import style

LOOKS: list[Style] = []
"""The styles; a style's place is its number."""
_NUMBERS: dict[Style, int] = {}
# Hashing a Rich style is slow. The styles in LOOKS live for good, so their ids can be looked up.
_NUMBERS_BY_ID: dict[int, int] = {}


def number_of(look: Style) -> int:
    """The number of a style; equal styles have the same number."""
    number = _NUMBERS_BY_ID.get(id(look))
    if number is not None:
        return number
    number = _NUMBERS.setdefault(look, len(LOOKS))
    if number == len(LOOKS):
        LOOKS.append(look)
        _NUMBERS_BY_ID[id(look)] = number
    return number


BLANK = number_of(style())
"""The style of blank cells."""
