"""The line to the terminal: it never blocks, drops frames that nobody reads, and puts it back."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable

from ganterm.dashboard.terminal.graphics import believed

MOST_WAITING = 256 * 1024
"""Bytes that may wait for the terminal; a single frame may be larger."""
BEHIND = 0.2
"""Seconds after which what still waits is a sign of a slow terminal."""
STALLED = 1.0
"""Seconds without a byte taken after which the terminal reads no more."""
MOST_SIZE = (1000, 500)
"""Columns and rows that are believed at most."""
USUAL_SIZE = (80, 24)
_CHUNK = 65_536
_POLL_SECONDS = 0.1

# CAN ends a sequence that was cut off in the middle, ST a string.
_CANCEL = b"\x18\x1b\\"
# Modes of every kind that Textual sets.
_RESTORE = (
    b"\x1b[0m\x1b[?2026l\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l"
    b"\x1b[?1006l\x1b[?1016l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)


class Line:
    """Writes to the terminal on ``descriptor`` from a thread of its own, whole frames only.

    Its own open description of the terminal is the only one that does not block: the shell and
    other programs share those of descriptors 0 to 2. ``lost`` is called, in that thread, with the
    name of the error once the terminal is gone; ``caught_up`` when it has read all there was
    after frames had been dropped. ``undo`` is written before all else where the terminal is put
    back by force. The settings of the terminal are remembered as they are now.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        shared = sys.__stderr__.fileno() if descriptor is None else descriptor  # type: ignore[union-attr]
        self.lost: Callable[[str], None] = lambda cause: None
        self.caught_up: Callable[[], None] = lambda: None
        self.sent = 0
        self.undo = b""
        self._descriptor, self._restores_blocking = _opened(shared)
        self._settings = termios.tcgetattr(self._descriptor)
        self._waiting: deque[memoryview] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing_at: float | None = None
        self._dropped = False
        self._gone = False
        self._released = False
        self._empty_at = self._taken_at = time.monotonic()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, the usual ones where the terminal does not know, never too many."""
        try:
            found = os.get_terminal_size(self._descriptor)
        except OSError:
            return USUAL_SIZE
        columns, rows = (n or usual for n, usual in zip(found, USUAL_SIZE, strict=True))
        return min(columns, MOST_SIZE[0]), min(rows, MOST_SIZE[1])

    @property
    def cell(self) -> tuple[int, int] | None:
        """A cell's (width, height) in pixels, where the system knows it."""
        try:
            told = fcntl.ioctl(self._descriptor, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return None
        rows, columns, width, height = struct.unpack("HHHH", told)
        return believed(width / columns, height / rows) if rows and columns else None

    @property
    def in_front(self) -> bool:
        """Whether this process may use the terminal, as it may where there is no job control."""
        if self._gone:
            return True
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True

    @property
    def behind(self) -> bool:
        """Whether the terminal has not read yet what it was sent some time ago."""
        return bool(self._waiting) and time.monotonic() - self._empty_at > BEHIND

    @property
    def stalled(self) -> bool:
        """Whether the terminal has stopped reading."""
        return bool(self._waiting) and time.monotonic() - self._taken_at > STALLED

    def start(self) -> None:
        """Begin to write; again after ``close``."""
        self._closing_at = None
        self._thread = threading.Thread(target=self._work, name="ganterm-line", daemon=True)
        self._thread.start()

    def offer(self, frame: bytes) -> bool:
        """Send a frame, or drop it where too much is waiting already; whether it is sent."""
        with self._turn:
            waiting = sum(map(len, self._waiting))
            if waiting and waiting + len(frame) > MOST_WAITING:
                self._dropped = True
                return False
            self._put(frame)
            return True

    def say(self, sequence: bytes) -> None:
        """Send what must not be dropped."""
        with self._turn:
            self._put(sequence)

    def close(self, patience: float = 1.0) -> None:
        """Write what waits, for ``patience`` seconds at most, and end the thread.

        Where the terminal did not take all of it, it is put back by force.
        """
        thread = self._thread
        if thread is None:
            return
        with self._turn:
            self._closing_at = time.monotonic() + patience
            self._turn.notify()
        thread.join(patience + 2 * _POLL_SECONDS)
        if not thread.is_alive():
            self._thread = None
        if self._waiting and not self._gone:
            self._waiting.clear()
            self.restore()
        if self._restores_blocking:
            os.set_blocking(self._descriptor, True)

    def restore(self) -> None:
        """Put the terminal back without waiting for it, in whatever state all else is."""
        if self._gone:
            return
        # A process in the background would be stopped for it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            os.write(self._descriptor, _CANCEL + self.undo + _RESTORE)
            self.restore_settings()
        except (OSError, termios.error):
            pass  # The terminal is gone: nothing is left to be restored.
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def say_restored(self) -> None:
        """Put the screen and its modes back once all before is written; not the settings."""
        self.say(self.undo + _RESTORE)

    def remember_settings(self) -> bool:
        """Put back, later, the settings that the device has now; False where it is gone."""
        try:
            self._settings = termios.tcgetattr(self._descriptor)
        except termios.error as error:
            self._gone = True
            self.lost(error_name(OSError(*error.args)))
            return False
        return True

    def restore_settings(self) -> None:
        """Put back the settings that the device had; in the background it is not ours."""
        # It is no error where the terminal is gone.
        with contextlib.suppress(termios.error):
            if self.in_front:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._settings)

    def release(self) -> None:
        """Let go of the terminal, which is not ours any more; once is enough."""
        if self._released:
            return
        with self._turn:
            self._gone = self._released = True
            self._turn.notify()
        # A thread that still writes would write into whatever gets the number next.
        if self._thread is None or not self._thread.is_alive():
            os.close(self._descriptor)

    def _put(self, data: bytes) -> None:
        if self._gone or not data:
            return
        if not self._waiting:
            self._empty_at = self._taken_at = time.monotonic()
        self._waiting.append(memoryview(data))
        self._turn.notify()

    def _work(self) -> None:
        # What must not be dropped is written in the background too, and may not stop this process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        while True:
            with self._turn:
                while not self._waiting and self._closing_at is None and not self._gone:
                    self._turn.wait()
                if self._gone or not self._waiting:
                    return
                data = self._waiting[0]
            if not self._push(data):
                return
            with self._turn:
                if self._waiting:
                    self._waiting.popleft()
                caught_up = not self._waiting and self._dropped and self._closing_at is None
                self._dropped &= not caught_up
            if caught_up:
                self.caught_up()

    def _push(self, data: memoryview) -> bool:
        """Write all of it; False where that cannot be any more."""
        while data:
            if self._gone or (self._closing_at is not None and time.monotonic() > self._closing_at):
                return False
            try:
                taken = os.write(self._descriptor, data[:_CHUNK])
            except BlockingIOError:
                select.select([], [self._descriptor], [], _POLL_SECONDS)
                continue
            except OSError as error:
                if self._released:
                    return False
                with self._turn:
                    self._gone = True
                    self._waiting.clear()
                self.lost(error_name(error))
                return False
            data = data[taken:]
            self.sent += taken
            self._taken_at = time.monotonic()
        return True


def error_name(error: OSError) -> str:
    """EIO and its like, by name."""
    return errno.errorcode.get(error.errno or 0, "error")


def _opened(shared: int) -> tuple[int, bool]:
    """A description of the terminal of our own, not blocking; or else the shared one, and True."""
    names: tuple[Callable[[], str], ...] = (
        lambda: os.ttyname(shared),
        lambda: f"/proc/self/fd/{shared}",
    )
    for name in names:
        try:
            handle = os.open(name(), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            continue
        if os.path.samestat(os.fstat(handle), os.fstat(shared)):
            return handle, False
        os.close(handle)
    handle = os.dup(shared)
    os.set_blocking(handle, False)
    return handle, True
