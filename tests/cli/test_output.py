"""No write to stdout, stderr or a log ends a training, and none keeps it waiting."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ganterm.cli import streams
from ganterm.cli.streams import Output
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import GANTERM, events

SMALL = [part for override in TINY for part in ("--set", override)]
TRAIN = [*GANTERM, "--preset", "mnist_mlp", "--headless", "--run", "r", "--device", "cpu", *SMALL]


class Disk:
    """``os.write`` for one descriptor, which takes ``room`` bytes and then refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, descriptor: int) -> None:
        self.room = 1 << 30
        self.error = errno.ENOSPC
        self._write = os.write
        self._descriptor = descriptor
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, content: bytes) -> int:
        if descriptor != self._descriptor:
            return self._write(descriptor, content)
        if not self.room:
            raise OSError(self.error, os.strerror(self.error))
        count = self._write(descriptor, content[: self.room])
        self.room -= count
        return count


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    own = os.fstat(ends[0])
    yield ends
    for end in ends:
        # A test may have closed it, and its number may be another file's by now.
        with suppress(OSError):
            if os.path.samestat(os.fstat(end), own):
                os.close(end)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EBADF]
)
def test_lines_that_cannot_be_written_are_counted_and_a_torn_one_is_completed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("wb") as file:
        disk, output = Disk(monkeypatch, file.fileno()), Output(file.fileno(), "stdout")
        disk.error, disk.room = number, 9
        for line in (b"first\n", b"second\n", b"third\n", b"fourth\n"):
            assert output.write(line) == len(line)
        assert (output.lost, output.fails, output.trouble) == (2, True, os.strerror(number))
        disk.room = 1 << 30
        output.write(b"fifth\n")
        assert (output.lost, output.fails) == (2, False)
    assert (tmp_path / "log").read_text() == "first\nsecond\nfifth\n"


def test_a_closed_descriptor_takes_nothing_and_raises_nothing(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1], "stdout")
    os.close(pipe[0])
    output.write(b"a\nb\n")
    assert (output.lost, output.trouble) == (2, os.strerror(errno.EPIPE))
    os.close(pipe[1])
    output.write(b"c\n")
    assert (output.lost, output.trouble) == (3, os.strerror(errno.EBADF))


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_is_slow_is_waited_for_by_the_main_thread_alone(
    blocking: bool, pipe: tuple[int, int]
) -> None:
    os.set_blocking(pipe[1], blocking)
    output = Output(pipe[1], "stdout")
    line = b"x" * 999 + b"\n"

    def chatter() -> None:
        for _ in range(400):
            output.write(line)

    other = threading.Thread(target=chatter)
    other.start()
    other.join(60)
    assert not other.is_alive() and output.lost and not output.fails
    read = bytearray()

    def drain() -> None:
        while chunk := os.read(pipe[0], 65_536):
            read.extend(chunk)

    reader = threading.Thread(target=drain)
    reader.start()
    for _ in range(400):
        output.write(line)
    os.close(pipe[1])
    reader.join(60)
    assert len(read) == (800 - output.lost) * len(line) and set(bytes(read).split(b"\n")) == {
        b"x" * 999,
        b"",
    }


def test_what_others_say_while_a_bar_is_drawn_waits_to_be_shown_above_it(
    pipe: tuple[int, int],
) -> None:
    output = Output(pipe[1], "stderr")
    output.holds = True
    other = threading.Thread(target=output.write, args=(b"a warning\n",))
    other.start()
    other.join()
    assert output.take() == "a warning\n" and output.take() == ""


def test_a_terminal_that_is_gone_is_told_to_whoever_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.openpty()
    output, causes = Output(theirs, "stderr"), list[str]()
    output.gone = causes.append
    os.close(ours)
    for _ in range(2):
        output.write(b"x\n")
    os.close(theirs)
    assert causes == ["EIO"]


@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        (">/dev/full", 1),
        (">/dev/full 2>&1", 1),
        ("2>/dev/full >/dev/null", 0),
        (">&-", 0),
        ("--json >/dev/full", 1),
        ("--json | head -1 >/dev/null", 1),
        ("| true", 1),
    ],
)
def test_a_training_whose_output_is_lost_goes_on_to_its_end(
    redirected: str, code: int, tmp_path: Path
) -> None:
    command = shlex.join([*TRAIN, "--steps", "40"])
    shell = f"set -o pipefail; {command} {redirected}"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    last = events(tmp_path)[-1]
    assert (last["kind"], last["state"], last["step"]) == ("stop", "finished", 40)
    assert last["saved"] and (tmp_path / "runs" / "r" / last["saved"] / "MANIFEST.json").exists()
    assert done.returncode == code
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_a_log_that_may_grow_no_more_is_told_in_it_once_it_may(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*TRAIN, "--json"], cwd=tmp_path, stdout=out, stderr=subprocess.DEVNULL
        )
    try:
        until(lambda: any('"metrics"' in line for line in lines(log)))
        # As a full disk: the log may not grow, nor may any other file.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 5, -1))
        size = log.stat().st_size + 5
        until(lambda: log.stat().st_size == size)
        time.sleep(2.5)
        assert process.poll() is None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        until(lambda: "could not be written to stdout: File too large" in log.read_text())
        process.terminate()
        assert process.wait(DEADLINE) == 143
    finally:
        process.kill()
        process.wait()
    kinds = [json.loads(line)["kind"] for line in lines(log)]
    assert kinds[-1] == "stop" and set(kinds) == {"start", "metrics", "event", "stop"}


ENDS = """
import sys, threading, time
from ganterm import presets
from ganterm.launch import Launch
from ganterm.session.local import LocalSession
_, preset = presets.load("mnist_mlp", {overrides!r})
session = LocalSession(Launch("mnist_mlp", preset, "cpu", run_name="r"))
session.start()
while not session.snapshot.step:
    time.sleep(0.01)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("", 0), ("sys.exit(3)", 3), ("raise OSError(28, 'full')", 1), ("1 / 0", 1)],
)
def test_whatever_ends_the_main_thread_the_run_is_saved_and_nothing_aborts(
    end: str, code: int, tmp_path: Path
) -> None:
    program = ENDS.format(overrides=list(TINY), end=end)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code and "terminate called" not in done.stderr
    last = events(tmp_path)[-1]
    assert (last["kind"], last["reason"]) == ("stop", "the process ends")
    assert (tmp_path / "runs" / "r" / last["saved"] / "MANIFEST.json").exists()


def test_where_no_log_can_be_opened_the_null_device_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / streams.LOG).mkdir()
    program = (
        "from ganterm.cli import streams\n"
        f"assert streams.turn_away({str(tmp_path)!r}, all_of_them=True) == 'a folder, not a file'\n"
        "print('lost')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
