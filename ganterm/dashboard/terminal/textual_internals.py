"""Every private name of Textual that the program uses, each with the reason.

When a new version of Textual breaks something, it is here.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

__all__ = ["OpenLinuxDriver", "XTermParser", "begin_update", "end_update"]
# XTermParser turns bytes into key events. Textual offers it within its own input thread only, which
# reads on in the background and takes the end of the input for no keys.


def begin_update(app: App[Any]) -> None:
    """Open a synchronised update: what we paint ourselves must not tear, as Textual's does not."""
    app._begin_update()


def end_update(app: App[Any]) -> None:
    """Close the synchronised update."""
    app._end_update()


class OpenLinuxDriver(LinuxDriver):
    """Textual's driver for Linux, its private parts under public names."""

    @property
    def key_thread(self) -> Thread | None:
        """The thread that reads keys: only while it lives is the terminal ours."""
        return self._key_thread

    @property
    def is_debug(self) -> bool:
        """What Textual's own input thread hands to the parser."""
        return self._debug

    @property
    def resumes_when_continued(self) -> bool:
        """Whether Textual's suspension is to be undone once the process is continued."""
        return self._must_signal_resume

    def suspend_application(self) -> None:
        """Suspend as Textual does for SIGTSTP, whose handler we replace to ask the app first."""
        self._sigtstp_application()

    def _query_in_band_window_resize(self) -> None:
        """Ask for no sizes within the input: SIGWINCH says when, and the size then is clamped."""
