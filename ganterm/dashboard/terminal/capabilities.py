"""What the terminal can do: whether it can show a dashboard, and in which colours and signs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal

from ganterm.core.errors import UserError
from ganterm.dashboard.draw.glyphs import Glyphs

LEAST_SIZE = (60, 20)
"""Fewest columns and rows of a terminal that can show the dashboard."""
GlyphChoice = Literal["auto", "half", "quadrant", "ascii", "kitty", "sixel"]
ColorChoice = Literal["auto", "truecolor", "256", "16", "none"]
Colors = Literal["truecolor", "256", "16", "none"]
_USUAL_CELL = (8, 16)
"""Assumed width and height of a cell in pixels, until the terminal reports them; values that are
too small do no harm."""
_SHARED = ("tmux", "screen")
"""Beginnings of TERM within multiplexers, which may be attached to another terminal later."""
_PLAIN = ("linux", "ansi", "cons")
"""Beginnings of TERM of consoles that would print a question as text."""


def check_terminal() -> None:
    """UserError where there is no terminal, or it is too small or cannot show a dashboard."""
    for name, stream in (("stdin", sys.__stdin__), ("stderr", sys.__stderr__)):
        if stream is None or not stream.isatty():
            raise UserError(
                f"{name} is not a terminal, so there is no dashboard; use --headless to train "
                "without one"
            )
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        term = os.environ.get("TERM", "")
        raise UserError(
            f"TERM={term or '(unset)'} cannot show a dashboard; use --headless, or set TERM to "
            "what the terminal is (xterm-256color, say)"
        )
    columns, rows = os.get_terminal_size(sys.__stderr__.fileno())  # type: ignore[union-attr]
    least_columns, least_rows = LEAST_SIZE
    # Zero means that the terminal does not know its size.
    if 0 < columns < least_columns or 0 < rows < least_rows:
        raise UserError(
            f"the terminal is {columns}x{rows}; the dashboard needs at least "
            f"{least_columns}x{least_rows} (80x24 is comfortable), or use --headless"
        )


def choose_colors(choice: ColorChoice, environment: Mapping[str, str]) -> Colors:
    """The number of colours to use; ``auto`` depends on NO_COLOR, COLORTERM and TERM.

    An empty NO_COLOR does not count (no-color.org). An unknown TERM has 16 colours.
    """
    if choice != "auto":
        return choice
    if environment.get("NO_COLOR"):
        return "none"
    term = environment.get("TERM", "").lower()
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "direct" in term:
        return "truecolor"
    if "256" in term or "kitty" in term:
        return "256"
    return "none" if term.startswith("vt") or term.endswith("-m") else "16"


def choose_glyphs(
    choice: GlyphChoice, colors: Colors, environment: Mapping[str, str] = os.environ
) -> Glyphs:
    """The characters to draw with; ``auto`` depends on the encoding and the number of colours.

    Pictures are drawn in letters with 16 colours or fewer, whose four greys do not show a digit.
    The terminal is asked later whether it can show pixels, but not within tmux or screen, which
    may be attached to another terminal later, nor on a console that would print the question.
    """
    if choice == "ascii":
        return Glyphs(unicode=False, pictures="ascii")
    if choice in ("kitty", "sixel"):
        return Glyphs(pictures=choice, dots=_USUAL_CELL)
    if choice != "auto":
        return Glyphs(pictures=choice)
    term = environment.get("TERM", "")
    shared = environment.get("TMUX") or environment.get("STY") or term.startswith(_SHARED)
    ask = colors != "none" and not shared and not term.startswith(_PLAIN)
    encoding = (getattr(sys.__stderr__, "encoding", "") or "").lower().replace("-", "")
    unicode = encoding == "utf8"
    many_colors = colors in ("truecolor", "256")
    pictures: Literal["half", "ascii"] = "half" if unicode and many_colors else "ascii"
    return Glyphs(unicode, pictures, ask=ask)
