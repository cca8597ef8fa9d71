"""The colours. Each has one meaning wherever it appears."""

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
FAKE_ON_GROUND = "#ffe3bf"
CHANGE = "#cba6f7"
ALARM = "#ff6b6b"
GOOD = "#6fd6a8"

# The raw band behind a chart's line: the line's colour, mixed with two thirds of SURFACE.
BANDS = {D: "#2a5068", G: "#66502f", REAL: "#305a4b", CHANGE: "#564a66", TEXT: "#4d555f"}

# The colours of a chart's marks; those of controls have CHANGE.
MARKS = {"!": ALARM, "✓": GOOD, "+": GOOD}

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
    """A Rich style on a panel's surface; equal arguments give the same object."""
    return Style(color=color, bgcolor=background, bold=bold or None)


@cache
def blend(color: str, share: float, ground: str = SURFACE) -> str:
    """The hex colour of ``color`` at an opacity of ``share`` (0..1) over ``ground``."""
    parts = [(int(ground[i : i + 2], 16), int(color[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in parts)


def heading(color: str = TEXT, bold: bool = False) -> Style:
    """A style for a panel's title row, whose background is a shade lighter."""
    return style(color, bold, RAISED)
