"""Every private name of Textual that the program uses, each with the reason.

A new version of Textual can break only this file.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

__all__ = ["OpenLinuxDriver", "XTermParser", "begin_update", "end_update"]
# XTermParser turns text into key events. Textual offers it only within its own input thread, which
# also reads in the background and treats the end of the input as no input.


def begin_update(app: App[Any]) -> None:
    """Begin a synchronised update, so that a frame of ours does not tear, as Textual's do not."""
    app._begin_update()


def end_update(app: App[Any]) -> None:
    """End the synchronised update."""
    app._end_update()


class OpenLinuxDriver(LinuxDriver):
    """Textual's driver for Linux, with public names for its private parts."""

    @property
    def key_thread(self) -> Thread | None:
        """The thread that reads keys. The terminal is ours only while it is alive."""
        return self._key_thread

    @property
    def is_debug(self) -> bool:
        """The flag that Textual's own input thread gives to the parser."""
        return self._debug

    @property
    def resumes_when_continued(self) -> bool:
        """Whether Textual must undo its suspension when the process is continued."""
        return self._must_signal_resume

    def suspend_application(self) -> None:
        """Suspend as Textual does on SIGTSTP; our handler of SIGTSTP asks the app first."""
        self._sigtstp_application()

    def _query_in_band_window_resize(self) -> None:
        """Do not request sizes in the input: SIGWINCH announces them, and ``Line`` clips them."""
