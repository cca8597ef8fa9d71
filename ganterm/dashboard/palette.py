"""The colours, and what each of them means wherever it appears."""

from __future__ import annotations

from functools import cache

from rich.style import Style
from textual.theme import Theme

GROUND = "#0f1318"
SURFACE = "#171c23"
RAISED = "#232a33"
TEXT = "#c9d1db"
DIM = "#7b8694"
FAINT = "#414b57"

D = "#5cc8ff"
G = "#ffb454"
REAL = "#6fd6a8"
FAKE = G
CHANGE = "#cba6f7"
ALARM = "#ff6b6b"
GOOD = "#6fd6a8"

# A series' raw band: its colour, two thirds of the way into the surface.
BANDS = {D: "#2a5068", G: "#66502f", REAL: "#305a4b", CHANGE: "#564a66", TEXT: "#4d555f"}

THEME = Theme(
    name="ganterm",
    primary=D,
    secondary=G,
    accent=CHANGE,
    warning=G,
    error=ALARM,
    success=GOOD,
    foreground=TEXT,
    background=GROUND,
    surface=SURFACE,
    panel=RAISED,
    dark=True,
)


@cache
def style(color: str = TEXT, bold: bool = False, background: str = SURFACE) -> Style:
    """A Rich style on a panel's surface, made once."""
    return Style(color=color, bgcolor=background, bold=bold or None)


def heading(color: str = TEXT, bold: bool = False) -> Style:
    """A style for a panel's title row, which is a shade lighter."""
    return style(color, bold, RAISED)
