"""What the process writes to: stdout, stderr, and the log once nobody reads them.

No write ends the program, least of all a training: what cannot be written is dropped and counted.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganterm.core.text import clean_lines
from ganterm.system.files import open_log

LOG = "host.log"
MOST_WAITING = 1 << 16
"""Bytes that threads which do not wait may leave to be written later."""


class Output(io.RawIOBase):
    """What is written to a descriptor; a write never raises an OSError.

    The main thread waits for a slow reader. Every other thread, the trainer's above all, does not:
    what it says is kept, up to ``MOST_WAITING`` bytes, and goes out with the next write that finds
    room. A line that was written in part is completed as soon as there is room again.

    ``lost``: how many lines could not be written; whoever tells of them sets it back. ``trouble``:
    why the last of them could not. ``fails``: whether the newest write did. ``holds``: whether what
    other threads say waits for ``take``, because the main thread draws on the terminal. ``gone`` is
    called with "EIO" where the descriptor is a terminal that is gone.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.lost = 0
        self.trouble = ""
        self.fails = False
        self.holds = False
        self.gone: Callable[[str], None] = lambda cause: None
        self._descriptor = descriptor
        self._is_terminal = os.isatty(descriptor)
        self._waiting: deque[bytes] = deque()
        self._torn = False
        self._turn = threading.RLock()
        self._sends = False

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal now."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, content: Any) -> int:
        """Take all of ``content``, bytes, and send what can be sent."""
        sent = bytes(content)
        waits = threading.current_thread() is threading.main_thread()
        if not waits and sum(map(len, tuple(self._waiting))) + len(sent) > MOST_WAITING:
            self.lost += sent.count(b"\n")
            self.trouble = "nobody reads it"
            return len(sent)
        self._waiting.append(sent)
        if waits or not self.holds:
            self._send(waits)
        return len(sent)

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting and not self.holds:
            self._send(threading.current_thread() is threading.main_thread())

    def take(self) -> str:
        """What waits, for the caller to show in its own way."""
        taken = b""
        while self._waiting:
            taken += self._waiting.popleft()
        return taken.decode(errors="replace")

    def _send(self, waits: bool) -> None:
        if not self._turn.acquire(blocking=waits):
            return
        try:
            # What a signal's handler says while its thread is in here is sent after.
            if self._sends:
                return
            self._sends = True
            try:
                self._send_all(waits)
            finally:
                self._sends = False
        finally:
            self._turn.release()

    def _send_all(self, waits: bool) -> None:
        while self._waiting:
            first = self._waiting[0]
            try:
                if not waits and not self._has_room(0):
                    return
                # No more than this fits for sure into a pipe that has room.
                count = os.write(self._descriptor, first if waits else first[: select.PIPE_BUF])
            except BlockingIOError:
                if not waits:
                    return
                self._has_room(None)
            except OSError as error:
                self._drop(error)
                return
            else:
                self.fails = False
                self._torn = count < len(first)
                if self._torn:
                    self._waiting[0] = first[count:]
                else:
                    self._waiting.popleft()

    def _has_room(self, milliseconds: int | None) -> bool:
        """Whether a write would be taken, or refused, without waiting."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(milliseconds))

    def _drop(self, error: OSError) -> None:
        self.trouble, self.fails = error.strerror or type(error).__name__, True
        torn = [self._waiting.popleft()] if self._torn else []
        while self._waiting:
            self.lost += self._waiting.popleft().count(b"\n")
        self._waiting.extend(torn)
        if error.errno == errno.EIO and self._is_terminal:
            self._is_terminal = False
            self._waiting.clear()
            self.lost, self.fails, self._torn = 0, False, False
            self.gone("EIO")


outputs: dict[str, Output] = {}
"""What ``guard`` has put in the place of stdout and stderr, by these names."""


def guard() -> None:
    """Have stdout and stderr of the process written by an ``Output`` from now on.

    A stream that has no descriptor, as in a notebook, stays what it is.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except io.UnsupportedOperation:
            continue
        output = outputs[name] = Output(descriptor, name)
        # A character that the encoding lacks is no reason to end either.
        text = io.TextIOWrapper(
            output,
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, text)


def is_stderr(output: Output) -> bool:
    """Whether what is written to it ends up where stderr does, or nowhere."""
    try:
        return os.path.sameopenfile(output.fileno(), 2)
    except OSError:
        return True


def trouble_with_stdout() -> str:
    """Why not all that was said reached stdout, "" where it did, or where the rest was told of."""
    sys.stdout.flush()
    output = outputs.get("stdout")
    if output is None:
        return ""
    return output.trouble if output.fails or output.lost else ""


def tell(message: str) -> None:
    """Say something to the user, on stderr."""
    show(f"ganterm: {message}")


def show(text: str) -> None:
    """Put a text of one or more lines on stderr, cleaned."""
    click.echo(clean_lines(text), err=True)


def say(text: str) -> None:
    """Put an answer on stdout, each of its lines cleaned."""
    click.echo(clean_lines(text))


def fill() -> None:
    """Have the null device for those of descriptors 0 to 2 that were closed when we came.

    A file of ours would be opened under such a number, and be printed into.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def turn_away(directory: str, all_of_them: bool = False) -> str:
    """Turn those of descriptors 0 to 2 that are a terminal, or nothing, away from it.

    Input becomes the null device and output the log in the run directory, the null device too
    where ``directory`` is "" or takes no log; returns why it takes none, or "". Those that are a
    file or a pipe stay what they are, unless it is ``all_of_them``. Call it again once there is a
    directory.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    log, trouble = nowhere, ""
    if directory:
        try:
            log = open_log(Path(directory) / LOG)
        except OSError as error:
            # Training matters more than what would be printed.
            trouble = error.strerror or type(error).__name__
    for descriptor, new in ((0, nowhere), (1, log), (2, log)):
        if all_of_them or _is_terminal_or_nothing(descriptor, nowhere):
            os.dup2(new, descriptor)
    for handle in {nowhere, log}:
        if handle > 2:
            os.close(handle)
    return trouble


def _is_terminal_or_nothing(descriptor: int, nowhere: int) -> bool:
    """A terminal that hung up does not say that it is one, but it is a character device still."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return True
    return stat.S_ISCHR(found.st_mode) or os.path.samestat(found, os.fstat(nowhere))
