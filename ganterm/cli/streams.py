"""The outputs of the process: stdout, stderr, and the log once nobody reads them.

No failed write ends the program: what cannot be written is dropped and counted.
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
"""Name of the log in a run directory."""
MOST_WAITING = 1 << 16
"""Bytes that threads may leave waiting; what exceeds them is dropped."""


class Output(io.RawIOBase):
    """A writer to a descriptor that never raises an OSError.

    The main thread waits for a slow reader. Other threads, the trainer's above all, do not: their
    text is kept, up to ``MOST_WAITING`` bytes, and goes out with the next write that finds room.
    A line that is written in part is completed as soon as there is room again.

    ``lost`` counts the lines that could not be written; whoever reports them sets it back to 0.
    ``trouble`` says why the last of them could not. ``fails``: whether the newest write failed.
    ``holds``: whether the text of other threads waits for ``take``, because the main thread draws
    on the terminal. ``gone`` is called with "EIO" once the terminal is gone.
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
        """Whether it can be written to: always."""
        return True

    def write(self, content: Any) -> int:
        """Accept all bytes of ``content``, and send what can be sent."""
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
        """Remove and return what waits, for the caller to show in its own way."""
        text = b""
        while self._waiting:
            text += self._waiting.popleft()
        return text.decode(errors="replace")

    def _send(self, waits: bool) -> None:
        if not self._turn.acquire(blocking=waits):
            return
        try:
            # A signal handler may print while its thread is in here; its text goes out after.
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
                # A pipe that has room takes at least PIPE_BUF bytes without blocking.
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
"""The outputs that ``guard`` has installed, by the names "stdout" and "stderr"."""


def guard() -> None:
    """Install an ``Output`` for stdout and one for stderr.

    A stream without a descriptor, as in a notebook, stays what it is.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except io.UnsupportedOperation:
            continue
        output = outputs[name] = Output(descriptor, name)
        # A character that the encoding lacks must not raise either.
        text = io.TextIOWrapper(
            output,
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, text)


def is_stderr(output: Output) -> bool:
    """Whether it leads to the same place as stderr, or nowhere."""
    try:
        return os.path.sameopenfile(output.fileno(), 2)
    except OSError:
        return True


def trouble_with_stdout() -> str:
    """Why text for stdout was lost; "" where none was, or where the loss is already reported."""
    sys.stdout.flush()
    output = outputs.get("stdout")
    if output is None:
        return ""
    return output.trouble if output.fails or output.lost else ""


def tell(message: str) -> None:
    """Print a message to the user on stderr."""
    show(f"ganterm: {message}")


def show(text: str) -> None:
    """Print lines on stderr, cleaned."""
    click.echo(clean_lines(text), err=True)


def say(text: str) -> None:
    """Print lines on stdout, cleaned."""
    click.echo(clean_lines(text))


def fill() -> None:
    """Open the null device for those of descriptors 0 to 2 that are closed.

    Otherwise the next file that is opened would get such a number and be printed into.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def turn_away(directory: str, all_of_them: bool = False) -> str:
    """Redirect those of descriptors 0 to 2 that are a terminal or the null device.

    Input comes from the null device. Output goes to the log in the run directory, or to the null
    device where ``directory`` is "" or the log cannot be opened; returns why it cannot, or "".
    Files and pipes stay, unless ``all_of_them`` are redirected. It may be called again once there
    is a directory.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    log, trouble = nowhere, ""
    if directory:
        try:
            log = open_log(Path(directory) / LOG)
        except OSError as error:
            # The training matters more than its log.
            trouble = error.strerror or type(error).__name__
    for descriptor, new in ((0, nowhere), (1, log), (2, log)):
        if all_of_them or _is_terminal_or_nothing(descriptor, nowhere):
            os.dup2(new, descriptor)
    for handle in {nowhere, log}:
        if handle > 2:
            os.close(handle)
    return trouble


def _is_terminal_or_nothing(descriptor: int, nowhere: int) -> bool:
    """Whether a descriptor is a terminal, the null device or closed.

    ``isatty`` is false for a terminal that hung up, but it is still a character device.
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return True
    return stat.S_ISCHR(status.st_mode) or os.path.samestat(status, os.fstat(nowhere))
