"""Textual's driver, made so that no terminal that stalls, hangs up or lies does harm."""

from __future__ import annotations

import os
import select
import signal
from codecs import getincrementaldecoder
from functools import partial
from typing import Any, ClassVar

from textual import events
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.message import Message
from textual.messages import InBandWindowResize

from ganterm.dashboard.graphics import Answers
from ganterm.dashboard.line import Line, error_name

_UPDATED = b"\x1b[?2026l"
_LOOK_SECONDS = 0.1
_RESIZE_SECONDS = 0.1
"""Between two looks at the size, however often it changes."""


class TerminalDriver(LinuxDriver):
    """Writes through a ``line``, reads to the end of the input and no further.

    SIGCONT is obeyed after a suspension only: each other one would start two more threads that
    compete for the keys, and the kernel sends one with a hang-up. SIGTSTP does what ctrl+z does,
    so that the app can decide. ``line`` is set by ``driver_on``.
    """

    line: ClassVar[Line]
    _app: Any

    def __init__(self, app: Any, *, size: tuple[int, int] | None = None, **options: Any) -> None:
        super().__init__(app, size=size or self.line.size, **options)
        self._pieces: list[str] = []
        self._drawing = False
        self._resizing = False
        self._answers = Answers()
        self._told = self._answers.graphics
        signal.signal(signal.SIGCONT, self._continue)
        signal.signal(signal.SIGTSTP, self._suspend)

    def write(self, data: str) -> None:
        """Add ``data`` to the frame that the next ``flush`` sends."""
        self._pieces.append(data)

    def flush(self) -> None:
        """Send the frame, or drop it where the terminal does not read; modes are never dropped."""
        frame = "".join(self._pieces).encode(errors="replace")
        self._pieces.clear()
        if not self._drawing:
            self.line.say(frame)
            return
        # Within the same update, so that it is seen at once with the cells.
        ended = _UPDATED if frame.endswith(_UPDATED) else b""
        frame = frame.removesuffix(ended) + self._app.pictures.after_frame() + ended
        if not self.line.offer(frame):
            self._app.pictures.dropped()

    def start_application_mode(self) -> None:
        """Take the terminal over."""
        self.line.start()
        super().start_application_mode()
        if self._app.question:
            self._answers.expect()
            self.write(self._app.question)
        self.flush()
        self._drawing = True
        signal.signal(signal.SIGWINCH, self._resized)

    def stop_application_mode(self) -> None:
        """Give the terminal back."""
        self._drawing = False
        self._answers.await_them()
        self.line.say(self._app.pictures.erase())
        super().stop_application_mode()
        # Standard input may have been turned away from the terminal by now.
        self.line.restore_settings()

    def close(self) -> None:
        """Have the last of it written, and end the threads."""
        self.flush()
        self.line.close()
        super().close()

    def run_input_thread(self) -> None:
        """Read keys until told to end, or until there is nobody to press any."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], _LOOK_SECONDS)[0]:
                try:
                    typed = os.read(self.fileno, 4096)
                except OSError as error:
                    self.line.lost(error_name(error))
                    return
                if not typed:
                    self.line.lost("EOF")
                    return
                self._pass_on(parser, self._answers.feed(decode(typed)))
            else:
                self._pass_on(parser, self._answers.release())
            for message in parser.tick():
                self.process_message(message)

    def _pass_on(self, parser: XTermParser, typed: str) -> None:
        # An empty text would end the parser.
        for message in parser.feed(typed) if typed else ():
            self.process_message(message)
        if self._answers.graphics != self._told:
            self._told = self._answers.graphics
            self._app.call_soon(partial(self._app.answered, self._told))

    def process_message(self, message: Message) -> None:
        """Pass on what was typed; a size within the input was never asked for, so none is taken."""
        if not isinstance(message, events.Resize | InBandWindowResize):
            Driver.process_message(self, message)

    def _query_in_band_window_resize(self) -> None:
        """Not asked: SIGWINCH says when, and the size found then is clamped."""

    def _get_terminal_size(self) -> tuple[int, int]:
        return self.line.size

    def _resized(self, *_: object) -> None:
        if not self._resizing:
            self._resizing = True
            self._loop.call_soon_threadsafe(
                self._loop.call_later, _RESIZE_SECONDS, self._look_at_size
            )

    def _look_at_size(self) -> None:
        self._resizing = False
        size = Size(*self.line.size)
        self._app.post_message(events.Resize(size, size))

    def _suspend(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._app.action_suspend_process)

    def suspend(self) -> None:
        """Give the terminal back and stop this process until it is continued."""
        self._sigtstp_application()

    def _continue(self, *_: object) -> None:
        if self._must_signal_resume:
            self.resume_application_mode()
            self._app.call_later(self._app.refresh)


def driver_on(line: Line) -> type[TerminalDriver]:
    """The driver's class for an app that is shown through ``line``."""
    return type("DriverOnLine", (TerminalDriver,), {"line": line})
