"""The base of all our apps: the line to the terminal, and the terminal's colours."""

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
    # Rich needs a system even without colours, because it must send attributes such as bold.
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
_NOTICE_SECONDS = 0.5
"""Longest time in seconds that a notice stays on the screen beyond its timeout."""
_DARK, _BRIGHT = 0.35, 0.5
"""Brightness (0..1) below which text becomes dim, and above which a background becomes reverse."""


class Plain(LineFilter):
    """Removes all colours; dark text becomes dim, and text on a bright background reversed."""

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
    """An app on ``line`` in ``colors``; without a line, Textual finds the terminal itself.

    ``question`` is sent to the terminal once the screen is ours, and ``use_graphics`` is called
    with its answer. ``pictures`` lie over the cells.
    """

    def __init__(self, line: Line | None = None, colors: Colors = "truecolor") -> None:
        super().__init__(driver_class=None if line is None else driver_on(line))
        self.line = line
        self.question = ""
        self.pictures: OverCells = OverCells()
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._exit_from_outside: Callable[[], None] = lambda: None
        self._painter = Painter(
            _SYSTEMS[colors], _without_color if colors == "none" else lambda look: look
        )
        self._changes: list[Change] = []
        self._notice_until = 0.0
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
        # Each frame of an animation costs bytes on the link and time that training loses.
        self.animation_level = "none"

    def run(self, **options: Any) -> Result | None:
        """Show the app until it ends, and restore this process's signal handlers."""
        with handlers_kept(_TERMINAL_SIGNALS):
            return super().run(**options)

    def repaint(self) -> None:
        """Draw everything again, because the terminal has missed or lost part of it."""
        self.refresh()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, with our own in place of its filter for NO_COLOR."""
        filters = [f for f in super().get_line_filters() if not isinstance(f, Monochrome)]
        return [*filters, *self._plain]

    def use_graphics(self, graphics: Graphics) -> None:
        """Called with the terminal's answer to ``question``; does nothing here."""

    def paint(self, before: Cells, after: Cells, at: Offset) -> bool:
        """Have the next ``send`` write the changes of a grid at ``at``.

        Returns False where something covers the grid, or may: then Textual must compose it.
        """
        covered = (
            len(self.screen_stack) > 1
            or self.screen.maximized is not None
            or time.monotonic() < self._notice_until
        )
        if covered or self.is_headless:
            return False
        self._changes.append(Change(before, after, at.y, at.x))
        return True

    def send(self) -> None:
        """Send the painted changes as one frame, and new pictures with it."""
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
        """Show a notice in a corner; its text is not markup.

        Panels are not painted directly until the notice has gone, because it may cover them.
        """
        seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        until = time.monotonic() + seconds + _NOTICE_SECONDS
        self._notice_until = max(self._notice_until, until)
        super().notify(clean_lines(message), timeout=timeout, **{**options, "markup": False})

    def call_from_outside(self, result: Result | None) -> None:
        """Exit with ``result``; any thread may call this at any time, and it does not wait."""
        self._exit_from_outside = partial(self.exit, result)
        self.call_soon(self._exit_from_outside)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the app's own thread, if the app runs; any thread may call this."""
        if self._event_loop is not None and not self._event_loop.is_closed():
            self._event_loop.call_soon_threadsafe(callback)

    def on_load(self) -> None:
        """Set the theme; exit at once if ``call_from_outside`` was called before the app ran."""
        self._event_loop = asyncio.get_running_loop()
        self._exit_from_outside()
        self.register_theme(palette.THEME)
        self.theme = "ganterm"
