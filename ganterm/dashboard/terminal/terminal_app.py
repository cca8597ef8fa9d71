"""What every app of ours has in common: the line to the terminal, and its colours."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter, Monochrome
from textual.geometry import Offset

from ganterm.core.text import clean_lines
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.terminal.capabilities import Colors
from ganterm.dashboard.terminal.driver import driver_on
from ganterm.dashboard.terminal.graphics import Graphics
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.terminal.overlay import OverCells
from ganterm.dashboard.terminal.painter import Change, Painter
from ganterm.dashboard.terminal.textual_internals import begin_update, end_update
from ganterm.system.signals import handlers_kept

Result = TypeVar("Result")

_SYSTEMS = {
    "truecolor": ColorSystem.TRUECOLOR,
    "256": ColorSystem.EIGHT_BIT,
    # Without colours there are attributes still, which Rich sends with any system.
    "16": ColorSystem.STANDARD,
    "none": ColorSystem.STANDARD,
}
_NAMES: dict[ColorSystem, Literal["truecolor", "256", "standard"]] = {
    ColorSystem.TRUECOLOR: "truecolor",
    ColorSystem.EIGHT_BIT: "256",
    ColorSystem.STANDARD: "standard",
}
_TERMINAL_SIGNALS = (
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGWINCH,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
_TOAST_SECONDS = 0.5
"""Seconds that a toast may stay beyond its time."""
_DARK, _BRIGHT = 0.35, 0.5
"""Brightness (0..1) below which text is dim, and above which a ground is shown reversed."""


class Plain(LineFilter):
    """No colour at all: what is dark becomes dim, what lies on a bright ground is reversed."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments, with attributes in place of colours."""
        return [
            Segment(text, style and _without_color(style), control)
            for text, style, control in segments
        ]


@lru_cache(1024)
def _without_color(style: Style) -> Style:
    def brightness(color: Any, unknown: float) -> float:
        return unknown if color is None else Color.from_rich_color(color).brightness

    return Style(
        bold=style.bold or None,
        dim=brightness(style.color, 1.0) < _DARK or None,
        underline=style.underline or None,
        reverse=style.reverse or brightness(style.bgcolor, 0.0) > _BRIGHT or None,
    )


class TerminalApp(App[Result]):
    """An app of ours on ``line``, in ``colors``; without a line, Textual's way of finding one.

    ``question`` is put to the terminal once its screen is ours; ``answered`` is told what it said.
    ``pictures`` are what lies over the cells.
    """

    def __init__(self, line: Line | None = None, colors: Colors = "truecolor") -> None:
        super().__init__(driver_class=None if line is None else driver_on(line))
        self.line = line
        self.question = ""
        self.pictures: OverCells = OverCells()
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_leave: Callable[[], None] = lambda: None
        self._painter = Painter(
            _SYSTEMS[colors], _without_color if colors == "none" else lambda look: look
        )
        self._changes: list[Change] = []
        self._toasted_until = 0.0
        self.no_color = colors == "none"
        self._plain = [Plain()] if self.no_color else []
        self.console = Console(
            color_system=_NAMES[_SYSTEMS[colors]],
            no_color=False,
            file=self.console.file,
            force_terminal=True,
            legacy_windows=False,
            markup=True,
            highlight=False,
            emoji=False,
            safe_box=False,
        )
        # Each frame of an animation is bytes on the link, and time taken from training.
        self.animation_level = "none"

    def run(self, **options: Any) -> Result | None:
        """Show the app until it is left, and put back what it did to this process's signals."""
        with handlers_kept(_TERMINAL_SIGNALS):
            return super().run(**options)

    def repaint(self) -> None:
        """Draw all anew: the terminal has not seen all that was drawn, or has lost it."""
        self.refresh()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, but NO_COLOR is our own matter."""
        filters = [f for f in super().get_line_filters() if not isinstance(f, Monochrome)]
        return [*filters, *self._plain]

    def answered(self, graphics: Graphics) -> None:
        """The terminal has said what it can show."""

    def paint(self, before: Cells, after: Cells, at: Offset) -> bool:
        """Have what changed of a grid at ``at`` sent by the next ``send``; False where it may not.

        So it is where something lies, or may lie, over the grid: then it is Textual's to compose.
        """
        covered = (
            len(self.screen_stack) > 1
            or self.screen.maximized is not None
            or time.monotonic() < self._toasted_until
        )
        if covered or self.is_headless:
            return False
        self._changes.append(Change(before, after, at.y, at.x))
        return True

    def send(self) -> None:
        """Send what was painted, as one frame, and new pictures with it."""
        changes, self._changes = self._changes, []
        if self._driver is None:
            return
        frame = self._painter.sequence(changes)
        if frame:
            begin_update(self)
            self._driver.write(frame)
            end_update(self)
        self._driver.flush()

    def notify(self, message: str, *, timeout: float | None = None, **options: Any) -> None:
        """Tell something in a corner; no word of it is markup.

        How long it lies over the panels is remembered, for they are not ours to paint meanwhile.
        """
        seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        until = time.monotonic() + seconds + _TOAST_SECONDS
        self._toasted_until = max(self._toasted_until, until)
        super().notify(clean_lines(message), timeout=timeout, **{**options, "markup": False})

    def call_from_outside(self, result: Result | None) -> None:
        """Leave with this result; may be called from any thread, any time, and does not wait."""
        self._asked_to_leave = partial(self.exit, result)
        self.call_soon(self._asked_to_leave)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Have the app's own thread call something, if the app runs; any thread may ask."""
        if self._event_loop is not None and not self._event_loop.is_closed():
            self._event_loop.call_soon_threadsafe(callback)

    def on_load(self) -> None:
        """Look like ganterm; leave at once where that was asked for before the app ran."""
        self._event_loop = asyncio.get_running_loop()
        self._asked_to_leave()
        self.register_theme(palette.THEME)
        self.theme = "ganterm"
