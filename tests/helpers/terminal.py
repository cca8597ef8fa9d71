"""A real terminal for tests: a pty with a program on it, and a screen that understands it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
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

from tests.helpers.deadlines import DEADLINE

GANTERM = [sys.executable, "-m", "ganterm"]
OF_A_TERMINAL = {"NO_COLOR", "TERM", "COLORTERM", "TMUX", "STY"}
"""What the environment says of the terminal in which the tests are run, which this is none of."""
_ON_BEFORE = {"7", "25"}
TRAINER_FAILS = """
import pathlib
from ganterm.training.loop import Training
iterate = Training._iterate
def fail(self):
    if pathlib.Path("now").exists():
        pathlib.Path("now").unlink()
        raise RuntimeError("no batch to be had")
    iterate(self)
Training._iterate = fail
"""
"""Code after which a trainer breaks off once the file "now" is there."""


class Terminal:
    """Starts a command on a pty of ``columns`` x ``rows``; ``raw`` is all it ever sent."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        columns: int = 80,
        rows: int = 24,
        controlling: bool = True,
        **environment: str,
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.slave = slave
        self.settings = termios.tcgetattr(slave)
        take = (lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controlling else None
        known = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1"}
        kept = {k: v for k, v in os.environ.items() if k not in OF_A_TERMINAL}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**kept, **known, **environment},
            # A session of its own; with this terminal as its own a hang-up reaches it as SIGHUP.
            start_new_session=True,
            preexec_fn=take,  # noqa: PLW1509
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
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        self.raw += chunk
        # pyte does not know Kitty's keyboard protocol and takes its tail for text.
        self._stream.feed(chunk.replace(b"\x1b[<u", b"").replace(b"\x1b[>1u", b""))

    def read_raw(self, seconds: float) -> None:
        """Take what comes within a while, without a look at it: for what no screen would hold."""
        if select.select([self.master], [], [], seconds)[0]:
            self.raw += os.read(self.master, 65_536)

    def read_most(self, count: int) -> None:
        """Take so many bytes of what has come, as a slow link does."""
        if select.select([self.master], [], [], 0)[0]:
            self._take(os.read(self.master, count))

    def until(self, condition: Callable[[Terminal], Any], seconds: float = DEADLINE) -> None:
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

    def resize(self, columns: int, rows: int) -> None:
        """Have another size, which the program is told of."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)

    def hang_up(self) -> None:
        """Go as a dropped connection does; the program has no terminal from then on."""
        for handle in (self.slave, self.master):
            os.close(handle)
        self.master = self.slave = -1

    def wait(self, seconds: float = DEADLINE) -> int:
        """Read until the program has ended and nothing is left to read; returns its exit code."""
        self.until(lambda _: self.process.poll() is not None, seconds)
        before = -1
        while before != len(self.raw):
            before = len(self.raw)
            self.read(0.2)
        return self.process.returncode

    def close(self) -> None:
        """End whatever still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for handle in (self.master, self.slave):
            if handle >= 0:
                os.close(handle)


Start = Callable[..., Terminal]


def events(folder: Path, run: str = "r") -> list[dict[str, Any]]:
    """The events of a run, as they stand in its directory now."""
    lines = (folder / "runs" / run / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def running(terminal: Terminal) -> bool:
    """Whether a run is seen to be under way."""
    return "running" in terminal.text and "Samples raw" in terminal.text


def assert_restored(terminal: Terminal) -> None:
    """Every mode is as it was before, and so are the settings of the device."""
    left: dict[str, str] = {}
    for number, switch in re.findall(rb"\x1b\[\?(\d+)([hl])", terminal.raw):
        left[number.decode()] = switch.decode()
    assert left.pop("1049") == "l"
    assert {n: "h" if n in _ON_BEFORE else "l" for n in left} == left
    assert terminal.raw.count(b"\x1b[>") <= terminal.raw.count(b"\x1b[<u")
    assert termios.tcgetattr(terminal.slave) == terminal.settings
