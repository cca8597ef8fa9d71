"""What the terminal can do, the driver that counts what it is sent, and its last rescue."""

from __future__ import annotations

import os
import signal
import sys
import termios
from typing import Any, Literal

from textual.drivers.linux_driver import LinuxDriver

from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.errors import UserError

LEAST_SIZE = (60, 20)
GlyphChoice = Literal["auto", "half", "ascii"]

_RESTORE = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
    "\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)


class CountingDriver(LinuxDriver):
    """Textual's own driver, which also counts the bytes that it sends.

    SIGCONT is obeyed after a suspension only: each other one would start two more threads that
    compete for the keys, and job control or a debugger may send it any time.
    """

    bytes_sent = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        signal.signal(signal.SIGCONT, self._continue)

    def write(self, data: str) -> None:
        """Send ``data`` to the terminal."""
        CountingDriver.bytes_sent += len(data.encode())
        super().write(data)

    def _continue(self, *_: object) -> None:
        if self._must_signal_resume:
            self.resume_application_mode()


class Rescue:
    """The terminal's settings from before the dashboard, to be put back when all else failed."""

    def __init__(self) -> None:
        self._settings = termios.tcgetattr(sys.stdin.fileno())

    def restore(self) -> None:
        """Put the terminal back without waiting for it, whatever state Textual is in."""
        try:
            terminal = sys.stderr.fileno()
            os.set_blocking(terminal, False)
            os.write(terminal, _RESTORE.encode())
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._settings)
        except (OSError, termios.error):
            return  # The terminal is gone: nothing is left to be restored.


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
    if (columns, rows) != (0, 0) and (columns < least_columns or rows < least_rows):
        raise UserError(
            f"the terminal is {columns}x{rows}; the dashboard needs at least "
            f"{least_columns}x{least_rows} (80x24 is comfortable), or use --headless"
        )


def choose_glyphs(choice: GlyphChoice, color_system: str | None) -> Glyphs:
    """The characters to draw with; ``auto`` looks at the locale and at the number of colours.

    Sixteen colours have four greys, which no digit survives; letters of a ramp do.
    """
    if choice == "ascii":
        return Glyphs(unicode=False, pictures="ascii")
    encoding = (getattr(sys.__stderr__, "encoding", "") or "").lower().replace("-", "")
    if choice == "half":
        return Glyphs()
    many_colors = color_system in ("truecolor", "256") and not os.environ.get("NO_COLOR")
    unicode = encoding == "utf8"
    return Glyphs(unicode=unicode, pictures="half" if unicode and many_colors else "ascii")
