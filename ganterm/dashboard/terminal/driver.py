"""Textual's driver, made so that no terminal that stalls, hangs up or lies does harm."""

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

_UPDATED = b"\x1b[?2026l"
_OTHER_SCREEN = b"\x1b[?1049h\x1b[<u"
_LOOK_SECONDS = 0.1
_FRONT_SECONDS = 0.2
"""Seconds between two checks for the foreground: the shell sends no signal for it."""
_RESIZE_SECONDS = 0.1
"""Least seconds between two readings of the terminal's size, however often it changes."""


class TerminalDriver(OpenLinuxDriver):
    """Writes through a ``line``, reads to the end of the input and no further.

    In the background of its shell it neither reads nor writes: it waits until it is in the
    foreground. There it takes the terminal, and takes it again whenever it is continued or comes
    back to the foreground, for the shell has had it meanwhile. SIGTSTP does what ctrl+z does, so
    that the app can decide. ``line`` is set by ``driver_on``.
    """

    line: ClassVar[Line]
    _app: Any

    def __init__(self, app: Any, *, size: tuple[int, int] | None = None, **options: Any) -> None:
        ignored = signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN
        super().__init__(app, size=size or self.line.size, **options)
        self._pieces: list[str] = []
        self._wanted = False
        self._taken = False
        self._setting_modes = False
        self._opening = b""
        self._modes: list[Any] = []
        self._was_in_front = False
        self._looking: TimerHandle | None = None
        self._resizing = False
        self._answers = Answers()
        self._told = self._answers.graphics
        signal.signal(signal.SIGCONT, self._continue)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN if ignored else self._suspend)

    def write(self, data: str) -> None:
        """Add ``data`` to the frame that the next ``flush`` sends."""
        self._pieces.append(data)

    def flush(self) -> None:
        """Send the frame, or drop it where the terminal does not read; modes are never dropped.

        In the background all is dropped.
        """
        frame = "".join(self._pieces).encode(errors="replace")
        self._pieces.clear()
        if self._setting_modes:
            self._opening += frame
            self.line.say(frame)
            return
        if not (self._taken and self.line.in_front):
            self._app.pictures.dropped()
            return
        # Within the same update, so that it is seen at once with the cells.
        ended = _UPDATED if frame.endswith(_UPDATED) else b""
        frame = frame.removesuffix(ended) + self._app.pictures.after_frame() + ended
        if not self.line.offer(frame):
            self._app.pictures.dropped()

    def start_application_mode(self) -> None:
        """Take the terminal over, as soon as this process is in the foreground."""
        self.line.start()
        self._wanted = True
        self._was_in_front = self.line.in_front
        if self._was_in_front:
            self._take()
        if self._looking is None:
            self._look_for_front()

    def stop_application_mode(self) -> None:
        """Give the terminal back, where it was taken."""
        self._wanted = False
        if not self._taken:
            return
        self._taken = False
        self._answers.await_them()
        if self.line.in_front:
            self.line.say(self._app.pictures.erase())
            self._setting_modes = True
            super().stop_application_mode()
            self._setting_modes = False
            # Standard input may have been turned away from the terminal by now.
            self.line.restore_settings()
        else:
            # The shell has set the device as it wants it, but its screen is as we left it.
            self.disable_input()
            self.line.say_restored()

    def disable_input(self) -> None:
        """Read no more keys; those that wait are dropped where they were typed for us."""
        if self.line.in_front and (self._taken or self._setting_modes):
            super().disable_input()
            return
        self.exit_event.set()
        if self.key_thread is not None:
            self.key_thread.join()
        self.exit_event.clear()

    def close(self) -> None:
        """Have the last of it written, and end the threads."""
        self.flush()
        self.line.close()
        super().close()

    def run_input_thread(self) -> None:
        """Read keys until told to end, or until there is nobody to press any."""
        # Read in the background, the terminal is to answer with an error and not to stop us.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
        parser = XTermParser(self.is_debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        while not self.exit_event.is_set():
            if not self.line.in_front:
                # The keys are not meant for this process.
                self.exit_event.wait(_LOOK_SECONDS)
            elif select.select([self.fileno], [], [], _LOOK_SECONDS)[0]:
                try:
                    typed = os.read(self.fileno, 4096)
                except OSError as error:
                    if not self.line.in_front:
                        continue
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

    def _get_terminal_size(self) -> tuple[int, int]:
        return self.line.size

    def _look_for_front(self) -> None:
        """Take the terminal where this process has come to the foreground; look again later."""
        before, self._was_in_front = self._was_in_front, self.line.in_front
        if self._wanted and self._was_in_front and not (before and self._taken):
            self._take()
        self._looking = self._loop.call_later(_FRONT_SECONDS, self._look_for_front)

    def _take(self) -> None:
        """Set the terminal's modes and have all drawn, whatever was done to it before."""
        if self._taken:
            self._take_again()
        elif self.line.remember_settings():
            self._take_first()
        if not self._taken:
            return
        signal.signal(signal.SIGWINCH, self._resized)
        self._look_at_size()
        self._app.pictures.dropped()
        self._app.call_later(self._app.repaint)

    def _take_first(self) -> None:
        self._opening, self._setting_modes = b"", True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual leaves it untyped
        self.flush()
        self._modes = self._settings_now()
        # Textual leaves it where the shell was quicker and has the terminal again.
        self._taken = self.key_thread is not None and self.key_thread.is_alive()
        opening = self._opening
        if self._taken and self._app.question:
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
        # The keyboard's mode may still be on the stack of the screen that is taken.
        self.line.say(_OTHER_SCREEN + self._opening)

    def _settings_now(self) -> list[Any]:
        try:
            return termios.tcgetattr(self.fileno)
        except termios.error:
            return self._modes

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
        self._app.call_soon(self._app.action_suspend_process)

    def suspend(self) -> None:
        """Give the terminal back and stop this process until it is continued."""
        self.suspend_application()

    def _continue(self, *_: object) -> None:
        self._app.call_soon(self._continued)

    def _continued(self) -> None:
        if not self._wanted:
            if self.resumes_when_continued:
                self.start_application_mode()
            return
        self._was_in_front = self.line.in_front
        if self._was_in_front:
            self._take()


def driver_on(line: Line) -> type[TerminalDriver]:
    """The driver's class for an app that is shown through ``line``."""
    return type("DriverOnLine", (TerminalDriver,), {"line": line})
