"""The line to the terminal: it never blocks, drops frames that nobody reads, and restores modes."""

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

from ganterm.dashboard.terminal.graphics import plausible_cell

MOST_WAITING = 256 * 1024
"""Most bytes that wait for the terminal, unless a single frame is larger; further frames are
dropped."""
BEHIND = 0.2
"""Seconds after which waiting bytes mean that the terminal is slow."""
STALLED = 1.0
"""Seconds without a byte read after which the terminal counts as stalled."""
MOST_SIZE = (1000, 500)
"""Largest columns and rows that a terminal's report is trusted for; larger ones are clipped."""
USUAL_SIZE = (80, 24)
"""Columns and rows of a terminal that does not know its size."""
_CHUNK = 65_536
"""Most bytes in one write."""
_POLL_SECONDS = 0.1
"""Longest wait for a terminal that does not read, in seconds, before the state is checked again."""

_CANCEL = b"\x18\x1b\\"
"""CAN ends a sequence that was cut off in the middle; ST ends a string."""
_RESTORE = (
    b"\x1b[0m\x1b[?2026l\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l"
    b"\x1b[?1006l\x1b[?1016l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)
"""Resets every mode that Textual sets."""


class Line:
    """Writes whole frames to the terminal on ``descriptor``, from a thread of its own.

    Only its own open description of the terminal is set not to block, because the shell and other
    programs share those of descriptors 0 to 2. That thread calls ``on_lost`` with the name of the
    error once the terminal is gone, and ``on_caught_up`` once the terminal has read everything
    after frames were dropped. ``undo`` is written first where the terminal is restored by force.
    The terminal's present settings are remembered.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        shared = sys.__stderr__.fileno() if descriptor is None else descriptor  # type: ignore[union-attr]
        self.on_lost: Callable[[str], None] = lambda cause: None
        self.on_caught_up: Callable[[], None] = lambda: None
        self.sent = 0
        self.undo = b""
        self._descriptor, self._restores_blocking = _open_unblocked(shared)
        self._settings = termios.tcgetattr(self._descriptor)
        self._waiting: deque[memoryview] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing_at: float | None = None
        self._dropped = False
        self._gone = False
        self._released = False
        self._empty_at = self._read_at = time.monotonic()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows: at most ``MOST_SIZE``, and ``USUAL_SIZE`` where they are unknown."""
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return USUAL_SIZE
        columns, rows = (n or usual for n, usual in zip(size, USUAL_SIZE, strict=True))
        return min(columns, MOST_SIZE[0]), min(rows, MOST_SIZE[1])

    @property
    def cell(self) -> tuple[int, int] | None:
        """A cell's (width, height) in pixels, or None where the system does not know it."""
        try:
            size = fcntl.ioctl(self._descriptor, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return None
        rows, columns, width, height = struct.unpack("HHHH", size)
        return plausible_cell(width / columns, height / rows) if rows and columns else None

    @property
    def in_front(self) -> bool:
        """Whether this process is in the foreground, or there is no job control."""
        if self._gone:
            return True
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True

    @property
    def behind(self) -> bool:
        """Whether bytes have waited for the terminal for more than ``BEHIND`` seconds."""
        return bool(self._waiting) and time.monotonic() - self._empty_at > BEHIND

    @property
    def stalled(self) -> bool:
        """Whether bytes wait and the terminal has read none for ``STALLED`` seconds."""
        return bool(self._waiting) and time.monotonic() - self._read_at > STALLED

    def start(self) -> None:
        """Start the thread that writes; it may be started again after ``close``."""
        self._closing_at = None
        self._thread = threading.Thread(target=self._work, name="ganterm-line", daemon=True)
        self._thread.start()

    def offer(self, frame: bytes) -> bool:
        """Send a frame; returns False where it is dropped because too much is waiting."""
        with self._turn:
            waiting = sum(map(len, self._waiting))
            if waiting and waiting + len(frame) > MOST_WAITING:
                self._dropped = True
                return False
            self._put(frame)
            return True

    def say(self, sequence: bytes) -> None:
        """Send a sequence that must not be dropped."""
        with self._turn:
            self._put(sequence)

    def close(self, patience: float = 1.0) -> None:
        """Write what waits, for at most ``patience`` seconds, and end the thread.

        If the terminal did not read all of it, its modes are restored by force.
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
        """Restore the terminal at once, without waiting for it or for the thread."""
        if self._gone:
            return
        # SIGTTOU would stop a process in the background for this.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
            os.write(self._descriptor, _CANCEL + self.undo + _RESTORE)
            self.restore_settings()
        except (OSError, termios.error):
            pass  # The terminal is gone, so there is nothing to restore.
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def say_restored(self) -> None:
        """Restore the screen and its modes after all that waits, but not the device's settings."""
        self.say(self.undo + _RESTORE)

    def remember_settings(self) -> bool:
        """Remember the device's settings for ``restore_settings``; False where it is gone."""
        try:
            self._settings = termios.tcgetattr(self._descriptor)
        except termios.error as error:
            self._gone = True
            self.on_lost(error_name(OSError(*error.args)))
            return False
        return True

    def restore_settings(self) -> None:
        """Restore the remembered settings of the device, unless this is in the background."""
        # A terminal that is gone needs no settings.
        with contextlib.suppress(termios.error):
            if self.in_front:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._settings)

    def release(self) -> None:
        """Close the terminal, and write no more to it. Further calls do nothing."""
        if self._released:
            return
        with self._turn:
            self._gone = self._released = True
            self._turn.notify()
        # While the thread still writes, the descriptor stays open: another file could get its
        # number.
        if self._thread is None or not self._thread.is_alive():
            os.close(self._descriptor)

    def _put(self, data: bytes) -> None:
        if self._gone or not data:
            return
        if not self._waiting:
            self._empty_at = self._read_at = time.monotonic()
        self._waiting.append(memoryview(data))
        self._turn.notify()

    def _work(self) -> None:
        # Sequences that are never dropped are also written in the background; SIGTTOU would stop
        # this process.
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
                self.on_caught_up()

    def _push(self, data: memoryview) -> bool:
        """Write all of ``data``; False where the terminal is gone or the line is closing."""
        while data:
            if self._gone or (self._closing_at is not None and time.monotonic() > self._closing_at):
                return False
            try:
                count = os.write(self._descriptor, data[:_CHUNK])
            except BlockingIOError:
                select.select([], [self._descriptor], [], _POLL_SECONDS)
                continue
            except OSError as error:
                if self._released:
                    return False
                with self._turn:
                    self._gone = True
                    self._waiting.clear()
                self.on_lost(error_name(error))
                return False
            data = data[count:]
            self.sent += count
            self._read_at = time.monotonic()
        return True


def error_name(error: OSError) -> str:
    """The name of an error number, such as EIO."""
    return errno.errorcode.get(error.errno or 0, "error")


def _open_unblocked(shared: int) -> tuple[int, bool]:
    """A descriptor of the terminal that does not block, and whether it shares the description of
    ``shared``, which must then be set to block again."""
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
