"""A real terminal for tests: a pty with a program on it, and a screen that understands it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte

GANTERM = [sys.executable, "-m", "ganterm"]


class Terminal:
    """Starts a command on a pty of ``columns`` x ``rows``; ``raw`` is all it ever sent."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        columns: int = 80,
        rows: int = 24,
        **environment: str,
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.slave = slave
        self.settings = termios.tcgetattr(slave)
        known = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1"}
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLORTERM")}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**kept, **known, **environment},
            # A session of its own with this terminal as its own: a hang-up then reaches it.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        self.raw = b""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self._screen.display)

    def read(self, seconds: float) -> None:
        """Take what comes for a while, as a terminal does."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            try:
                chunk = os.read(self.master, 65_536)
            except OSError:
                return
            self.raw += chunk
            # pyte does not know Kitty's keyboard protocol and takes its tail for text.
            self._stream.feed(chunk.replace(b"\x1b[<u", b"").replace(b"\x1b[>1u", b""))

    def until(self, condition: Callable[[Terminal], Any], seconds: float = 60) -> None:
        """Read until the condition holds; fails with the screen where it never does."""
        end = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < end, f"waited in vain; the screen:\n{self.text}"
            self.read(0.1)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """Read until the program has ended; returns its exit code."""
        self.until(lambda _: self.process.poll() is not None, seconds)
        self.read(0.2)
        return self.process.returncode

    def close(self) -> None:
        """End whatever still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for handle in (self.master, self.slave):
            os.close(handle)
