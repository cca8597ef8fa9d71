"""What the terminal can do: whether it can show a dashboard at all, in which colours and signs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal

from ganterm.core.errors import UserError
from ganterm.dashboard.draw.glyphs import Glyphs

LEAST_SIZE = (60, 20)
GlyphChoice = Literal["auto", "half", "quadrant", "ascii", "kitty", "sixel"]
ColorChoice = Literal["auto", "truecolor", "256", "16", "none"]
Colors = Literal["truecolor", "256", "16", "none"]
_USUAL_CELL = (8, 16)
"""A cell's pixels, until the terminal says; too few of them do no harm."""
_SHARED = ("tmux", "screen")
_PLAIN = ("linux", "ansi", "cons")


def check_terminal() -> None:
    """UserError where no dashboard can be shown: no terminal, a dumb one, or one too small."""
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
    # A zero says that the terminal does not know.
    if 0 < columns < least_columns or 0 < rows < least_rows:
        raise UserError(
            f"the terminal is {columns}x{rows}; the dashboard needs at least "
            f"{least_columns}x{least_rows} (80x24 is comfortable), or use --headless"
        )


def choose_colors(choice: ColorChoice, environment: Mapping[str, str]) -> Colors:
    """How many colours to use; ``auto`` looks at NO_COLOR, COLORTERM and TERM.

    An empty NO_COLOR does not count (no-color.org). A TERM that says nothing has 16 colours.
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
    """The characters to draw with; ``auto`` looks at the locale and at the number of colours.

    Sixteen colours have four greys, which no digit survives; letters of a ramp do. Whether the
    terminal has pixels is asked later, where the question can do no harm: not within tmux or
    screen, which the next terminal may be attached to, nor on a console that would print it.
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
