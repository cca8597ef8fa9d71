"""Textual's driver, changed so that a terminal that stalls, hangs up or lies does no harm."""

from __future__ import annotations

import os
import select
import signal
import termios
from asyncio import TimerHandle
from codecs import getincrementaldecoder
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from textual import events
from textual.driver import Driver
from textual.geometry import Size
from textual.message import Message
from textual.messages import InBandWindowResize

from ganterm.dashboard.terminal.graphics import Answers
from ganterm.dashboard.terminal.line import Line, error_name
from ganterm.dashboard.terminal.textual_internals import OpenLinuxDriver, XTermParser

_END_OF_UPDATE = b"\x1b[?2026l"
"""The end of a synchronised update."""
_OTHER_SCREEN = b"\x1b[?1049h\x1b[<u"
"""Opens the alternate screen, and drops the keyboard mode that its stack may still hold."""
_INPUT_SECONDS = 0.1
"""Longest wait of the input thread, in seconds, before it looks again whether to end."""
_FRONT_SECONDS = 0.2
"""Seconds between two checks whether this process is in the foreground. The shell sends no signal
when that changes."""
_RESIZE_SECONDS = 0.1
"""Least seconds between two readings of the terminal's size, however often it changes."""


class TerminalDriver(OpenLinuxDriver):
    """Writes through a ``line``, and stops reading at the end of the input.

    In the background of its shell it neither reads nor writes, but waits for the foreground. There
    it takes the terminal over. It does so again whenever the process is continued or returns to
    the foreground, because the shell has used the terminal meanwhile. SIGTSTP does what ctrl+z
    does, so that the app can decide. ``driver_on`` sets ``line``.
    """

    line: ClassVar[Line]
    _app: Any

    def __init__(self, app: Any, *, size: tuple[int, int] | None = None, **options: Any) -> None:
        ignored = signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
        super().__init__(app, size=size or self.line.size, **options)
        self._pieces: list[str] = []
        self._in_use = False
        self._has_terminal = False
        self._setting_modes = False
        self._opening = b""
        self._modes: list[Any] = []
        self._was_in_front = False
        self._front_timer: TimerHandle | None = None
        self._resizing = False
        self._answers = Answers()
        self._graphics = self._answers.graphics
        signal.signal(signal.SIGCONT, self._continue)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN if ignored else self._suspend)

    def write(self, data: str) -> None:
        """Add ``data`` to the frame that the next ``flush`` sends."""
        self._pieces.append(data)

    def flush(self) -> None:
        """Send the frame, or drop it where the terminal does not read or this process is in the
        background. Sequences that set modes are never dropped."""
        frame = "".join(self._pieces).encode(errors="replace")
        self._pieces.clear()
        if self._setting_modes:
            self._opening += frame
            self.line.say(frame)
            return
        if not (self._has_terminal and self.line.in_front):
            self._app.pictures.frame_lost()
            return
        # The pictures are part of the same update, so that they appear together with the cells.
        end = _END_OF_UPDATE if frame.endswith(_END_OF_UPDATE) else b""
        frame = frame.removesuffix(end) + self._app.pictures.after_frame() + end
        if not self.line.offer(frame):
            self._app.pictures.frame_lost()

    def start_application_mode(self) -> None:
        """Take the terminal over as soon as this process is in the foreground."""
        self.line.start()
        self._in_use = True
        self._was_in_front = self.line.in_front
        if self._was_in_front:
            self._take()
        if self._front_timer is None:
            self._check_front()

    def stop_application_mode(self) -> None:
        """Give the terminal back, if this process has it."""
        self._in_use = False
        if not self._has_terminal:
            return
        self._has_terminal = False
        self._answers.await_them()
        if self.line.in_front:
            self.line.say(self._app.pictures.erase())
            self._setting_modes = True
            super().stop_application_mode()
            self._setting_modes = False
            # Standard input may have been redirected from the terminal by now.
            self.line.restore_settings()
        else:
            # The shell has set the device as it needs it, but the screen is still ours.
            self.disable_input()
            self.line.say_restored()

    def disable_input(self) -> None:
        """Stop reading keys; waiting keys are dropped if they were typed for this process."""
        if self.line.in_front and (self._has_terminal or self._setting_modes):
            super().disable_input()
            return
        self.exit_event.set()
        if self.key_thread is not None:
            self.key_thread.join()
        self.exit_event.clear()

    def close(self) -> None:
        """Write what is left, and end the threads."""
        self.flush()
        self.line.close()
        super().close()

    def run_input_thread(self) -> None:
        """Read keys until the driver ends the input, or until the terminal is gone."""
        # With SIGTTIN blocked, a read in the background is an error and does not stop the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
        parser = XTermParser(self.is_debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        while not self.exit_event.is_set():
            if not self.line.in_front:
                # The keys are not meant for this process.
                self.exit_event.wait(_INPUT_SECONDS)
            elif select.select([self.fileno], [], [], _INPUT_SECONDS)[0]:
                try:
                    typed = os.read(self.fileno, 4096)
                except OSError as error:
                    if not self.line.in_front:
                        continue
                    self.line.on_lost(error_name(error))
                    return
                if not typed:
                    self.line.on_lost("EOF")
                    return
                self._pass_on(parser, self._answers.feed(decode(typed)))
            else:
                self._pass_on(parser, self._answers.release())
            for message in parser.tick():
                self.process_message(message)

    def _pass_on(self, parser: XTermParser, typed: str) -> None:
        # The parser takes an empty text for the end of the input.
        for message in parser.feed(typed) if typed else ():
            self.process_message(message)
        if self._answers.graphics != self._graphics:
            self._graphics = self._answers.graphics
            self._app.call_soon(partial(self._app.use_graphics, self._graphics))

    def process_message(self, message: Message) -> None:
        """Pass a message on, except for a size in the input, for which nobody has asked."""
        if not isinstance(message, events.Resize | InBandWindowResize):
            Driver.process_message(self, message)

    def _get_terminal_size(self) -> tuple[int, int]:
        return self.line.size

    def _check_front(self) -> None:
        """Take the terminal over if this process has come to the foreground; check again later."""
        before, self._was_in_front = self._was_in_front, self.line.in_front
        if self._in_use and self._was_in_front and not (before and self._has_terminal):
            self._take()
        self._front_timer = self._loop.call_later(_FRONT_SECONDS, self._check_front)

    def _take(self) -> None:
        """Set the terminal's modes and draw everything, whatever state the terminal is in."""
        if self._has_terminal:
            self._take_again()
        elif self.line.remember_settings():
            self._take_first()
        if not self._has_terminal:
            return
        signal.signal(signal.SIGWINCH, self._resized)
        self._read_size()
        self._app.pictures.frame_lost()
        self._app.call_later(self._app.repaint)

    def _take_first(self) -> None:
        self._opening, self._setting_modes = b"", True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual leaves it untyped
        self.flush()
        self._modes = self._settings_now()
        # Textual starts no thread if the shell has taken the terminal back in the meantime.
        self._has_terminal = self.key_thread is not None and self.key_thread.is_alive()
        opening = self._opening
        if self._has_terminal and self._app.question:
            self._answers.expect()
            self.write(self._app.question)
            self.flush()
        self._opening, self._setting_modes = opening, False

    def _take_again(self) -> None:
        settings = self._settings_now()
        if settings != self._modes:
            self.line.remember_settings()
            self.attrs_before = settings
            with suppress(termios.error):
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._modes)
        self.line.say(_OTHER_SCREEN + self._opening)

    def _settings_now(self) -> list[Any]:
        try:
            return termios.tcgetattr(self.fileno)
        except termios.error:
            return self._modes

    def _resized(self, *_: object) -> None:
        if not self._resizing:
            self._resizing = True
            self._loop.call_soon_threadsafe(self._loop.call_later, _RESIZE_SECONDS, self._read_size)

    def _read_size(self) -> None:
        self._resizing = False
        size = Size(*self.line.size)
        self._app.post_message(events.Resize(size, size))

    def _suspend(self, *_: object) -> None:
        self._app.call_soon(self._app.action_suspend_process)

    def suspend(self) -> None:
        """Give the terminal back and stop this process until it is continued."""
        self.suspend_application()

    def _continue(self, *_: object) -> None:
        self._app.call_soon(self._continued)

    def _continued(self) -> None:
        if not self._in_use:
            if self.resumes_when_continued:
                self.start_application_mode()
            return
        self._was_in_front = self.line.in_front
        if self._was_in_front:
            self._take()


def driver_on(line: Line) -> type[TerminalDriver]:
    """A driver class for an app on ``line``, because Textual makes the driver itself."""
    return type("DriverOnLine", (TerminalDriver,), {"line": line})
