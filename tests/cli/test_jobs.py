"""A job of a shell: stopped, continued, in the background, left training, warned by a scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from ganterm.cli import runs
from ganterm.core.snapshot import Unpause
from ganterm.rundir import find
from ganterm.rundir.lock import is_live
from ganterm.session.address import Pointer, pointers
from ganterm.session.client import RemoteSession
from tests.conftest import TINY
from tests.dashboard.test_terminal import manifest
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import GANTERM, Start, Terminal, assert_restored, events, running

SMALL = [part for text in TINY for part in ("--set", text)]
TRAIN = [*GANTERM, "--preset", "mnist_mlp", "--run", "r", "--device", "cpu", *SMALL]
TAKES_THE_SCREEN = b"\x1b[?1049h"
MODES = "stty -g | cksum"


class Shell(Terminal):
    """An interactive shell with job control on a terminal; ``modes`` are those it gives to jobs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(["bash", "--norc", "--noprofile", "-i"], folder, 100, 30, PS1="ready> ")
        self.until(lambda t: "ready>" in t.text)
        self.modes = self.say(MODES)

    def say(self, command: str) -> str:
        """Run a short command; what it prints, in one line."""
        # Put together by the shell, so that the mark is not in what is typed.
        mark = f"mark{len(self.raw)}"
        self.press(f"echo {mark[:2]}''{mark[2:]} \"$({command})\" end''{mark}\r")
        self.until(lambda t: f"end{mark}" in t.text.replace("\n", ""))
        shown = self.text.replace("\n", "").partition(f" end{mark}")[0]
        return shown.rpartition(f"{mark} ")[2]

    @property
    def job(self) -> int:
        """The process of the only job."""
        return int(self.say("jobs -p"))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path)
    yield opened
    for child in psutil.Process(opened.process.pid).children(recursive=True):
        child.kill()
    opened.close()


@pytest.fixture
def hosts() -> Iterator[None]:
    """Ends whatever trains in the background when the test is over."""
    yield
    for pointer in pointers():
        if psutil.pid_exists(pointer.pid):
            os.kill(pointer.pid, signal.SIGKILL)


def typed(*command: str) -> str:
    return " ".join(f"'{word}'" for word in command)


def steps(folder: Path) -> int:
    return runs._newest_step(folder / "runs" / "r")


def trains(folder: Path) -> Callable[[Terminal], bool]:
    """Whether steps are added from now on."""
    before = steps(folder)
    return lambda _: steps(folder) > before + 5


def kinds(folder: Path) -> list[str]:
    return [event["kind"] for event in events(folder)]


def has_come(what: bytes, since: int, terminal: Terminal) -> bool:
    return what in terminal.raw[since:]


def leave(terminal: Terminal) -> None:
    terminal.press("q")
    terminal.until(lambda t: "leave it training in the background" in t.text)
    terminal.press("l")


def keys_work(terminal: Terminal, folder: Path) -> None:
    before = kinds(folder).count("change")
    terminal.press("K")
    terminal.until(lambda _: kinds(folder).count("change") > before)


def test_a_job_in_the_background_trains_unseen_and_comes_to_the_foreground(
    shell: Shell, tmp_path: Path
) -> None:
    shell.press(f"{typed(*TRAIN)} &\r")
    shell.until(lambda _: steps(tmp_path) > 5)
    shell.until(trains(tmp_path))
    job = shell.job
    assert TAKES_THE_SCREEN not in shell.raw
    used = sum(psutil.Process(job).cpu_times()[:2])
    assert used > 0 and psutil.Process(job).status() != psutil.STATUS_STOPPED

    shell.press("fg\r")
    shell.until(running)
    keys_work(shell, tmp_path)

    # As by `kill -STOP` from elsewhere; the shell takes its terminal back.
    os.kill(job, signal.SIGSTOP)
    shell.until(lambda t: "Stopped" in t.text)
    shell.press("bg\r")
    shell.until(trains(tmp_path))
    drawn = len(shell.raw)
    shell.until(trains(tmp_path))
    assert b"\x1b[?2026h" not in shell.raw[drawn:]
    shell.press("fg\r")
    shell.until(lambda t: TAKES_THE_SCREEN in t.raw[drawn:])
    keys_work(shell, tmp_path)

    os.kill(job, signal.SIGSTOP)
    shell.until(lambda t: t.raw[drawn:].count(b"Stopped") > 0)
    seen = len(shell.raw)
    shell.press("fg\r")
    shell.until(lambda t: TAKES_THE_SCREEN in t.raw[seen:] and b"Gradient norm" in t.raw[seen:])
    keys_work(shell, tmp_path)

    shell.press("q")
    shell.until(lambda t: "End this run?" in t.text)
    shell.press("s")
    shell.until(lambda t: b"all of it in" in t.raw[seen:])
    assert shell.say(MODES) == shell.modes
    assert shell.say("jobs -p") == ""
    assert_restored_modes(shell)


def assert_restored_modes(shell: Shell) -> None:
    """What the screen was told; its device is the shell's own matter while it edits a line."""
    shell.settings = termios.tcgetattr(shell.slave)
    # A line editor of the shell's has bracketed paste on.
    shell.raw = shell.raw.replace(b"\x1b[?2004h", b"")
    assert_restored(shell)


def test_a_stopped_job_that_is_ended_in_the_background_leaves_a_usable_screen(
    shell: Shell, tmp_path: Path
) -> None:
    shell.press(f"{typed(*TRAIN)}\r")
    shell.until(running)
    job = psutil.Process(shell.process.pid).children()[0].pid
    os.kill(job, signal.SIGSTOP)
    shell.until(lambda t: "Stopped" in t.text)
    os.kill(job, signal.SIGTERM)
    os.kill(job, signal.SIGCONT)
    shell.until(lambda _: not psutil.pid_exists(job))
    assert events(tmp_path)[-1]["reason"] == "SIGTERM"
    assert shell.say(MODES) == shell.modes
    assert_restored_modes(shell)


def test_an_attached_dashboard_is_suspended_and_comes_back(
    shell: Shell, start: Start, tmp_path: Path
) -> None:
    start("--headless")
    until(pointers)
    shell.press(f"{typed(*GANTERM, 'attach', 'r')} &\r")
    job = shell.job
    shell.press("fg\r")
    shell.until(lambda t: "attached" in t.text and "running" in t.text)
    for stop in (lambda: shell.press("\x1a"), lambda: os.kill(job, signal.SIGSTOP)):
        seen = len(shell.raw)
        stop()
        shell.until(partial(has_come, b"Stopped", seen))
        assert shell.say(MODES) == shell.modes
        shell.press("fg\r")
        shell.until(partial(has_come, TAKES_THE_SCREEN, seen))
        keys_work(shell, tmp_path)
    shell.press("q")
    shell.until(lambda t: "leave it training" in t.text)
    shell.press("l")
    # The line is long, and longer where an alarm is raised, so it is wrapped anywhere.
    shell.until(lambda t: "to come back: ganterm attach r" in t.text.replace("\n", ""))
    assert shell.say(MODES) == shell.modes
    assert_restored_modes(shell)


def test_the_welcome_screen_waits_for_the_foreground(shell: Shell) -> None:
    shell.press(f"{typed(*GANTERM)} &\r")
    job = shell.job
    # Until it looks for the foreground it has not got so far as to show anything.
    until(lambda: psutil.Process(job).num_threads() > 1)
    shell.read(1)
    assert TAKES_THE_SCREEN not in shell.raw
    shell.press("fg\r")
    shell.until(lambda t: "enter chooses" in t.text)
    os.kill(job, signal.SIGUSR1)
    shell.until(lambda _: not psutil.pid_exists(job))
    assert shell.say(MODES) == shell.modes
    assert_restored_modes(shell)


def test_a_run_that_is_left_gives_the_shell_back_and_trains_on_bit_for_bit(
    start: Start, tmp_path: Path, hosts: None
) -> None:
    goal = ("--steps", "400", "--seed", "5")
    left = start(*goal)
    left.until(running)
    left.press(" ")
    left.until(lambda t: "paused" in t.text)
    leave(left)
    assert left.wait(DEADLINE) == 0
    assert_restored(left)
    for told in ("handing the training over", "ganterm attach r", "ganterm stop r"):
        assert told in left.text
    (pointer,) = pointers()
    assert pointer.pid != left.process.pid
    paused_at = steps(tmp_path)
    assert kinds(tmp_path)[-3:] == ["stop", "resume", "pause"]
    assert 0 < paused_at < 400
    session = RemoteSession(pointer)
    session.start()
    assert session.snapshot.state == "paused"
    session.submit(Unpause())
    assert session.ended.wait(DEADLINE)
    session.close()
    assert events(tmp_path)[-1]["state"] == "finished"
    assert {event["branch"] for event in events(tmp_path)} == {0}
    (resume,) = [event for event in events(tmp_path) if event["kind"] == "resume"]
    assert not resume["discards"] and not resume["differs"] and resume["from_step"] == paused_at
    alone = start(*goal, "--headless", "--run", "alone")
    assert alone.wait(DEADLINE) == 0
    assert manifest(tmp_path, "r")["sha256"] == manifest(tmp_path, "alone")["sha256"]


def test_a_run_that_is_left_while_it_loads_trains_in_the_background(
    start: Start, tmp_path: Path, hosts: None
) -> None:
    terminal = start()
    terminal.until(lambda t: "importing torch" in t.text)
    leave(terminal)
    assert terminal.wait(DEADLINE) == 0
    assert "training in the background" in terminal.text
    (pointer,) = pointers()
    until(trains_now(tmp_path))
    assert kinds(tmp_path)[0] == "start" and pointer.pid != terminal.process.pid


def trains_now(folder: Path) -> Callable[[], bool]:
    before = steps(folder)
    return lambda: steps(folder) > before


def test_a_run_that_cannot_be_saved_trains_on_as_a_job_of_the_shell(
    shell: Shell, tmp_path: Path
) -> None:
    shell.press(f"{typed(*TRAIN)}\r")
    shell.until(running)
    folder = tmp_path / "runs" / "r" / "checkpoints"
    folder.rename(folder.with_name("aside"))
    folder.touch()
    leave(shell)
    shell.until(lambda t: "not handed over: not saved" in t.text)
    folder.unlink()
    folder.with_name("aside").rename(folder)
    shell.until(trains(tmp_path))
    shell.press("\x1a")
    shell.until(lambda t: "Stopped" in t.text)
    job = shell.job
    assert shell.say(MODES) == shell.modes
    shell.press("bg\r")
    shell.until(trains(tmp_path))
    os.kill(job, signal.SIGTERM)
    shell.until(lambda _: not psutil.pid_exists(job))
    assert events(tmp_path)[-1]["reason"] == "SIGTERM"
    assert find.newest(tmp_path / "runs" / "r").step == events(tmp_path)[-1]["step"]


NO_HOST = """
from ganterm.cli import background
def start(launch, doing):
    raise OSError(12, "Cannot allocate memory")
background.start = start
from ganterm.cli.commands import main
main()
"""


def test_a_run_whose_host_does_not_start_trains_on_here(tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-c", NO_HOST, *TRAIN[len(GANTERM) :]], tmp_path, 100, 30)
    try:
        terminal.until(running)
        leave(terminal)
        terminal.until(lambda t: "Cannot allocate memory" in t.text)
        terminal.until(lambda _: "resume" in kinds(tmp_path))
        terminal.until(trains(tmp_path))
        terminal.press("\x03")
        assert terminal.wait() == 130
        assert_restored(terminal)
    finally:
        terminal.close()
    assert {event["branch"] for event in events(tmp_path)} == {0}
    assert events(tmp_path)[-1]["reason"] == "SIGINT"


def test_a_hand_over_that_is_interrupted_loses_nothing(
    start: Start, tmp_path: Path, hosts: None
) -> None:
    terminal = start()
    terminal.until(running)
    leave(terminal)
    terminal.until(lambda t: "ganterm: importing torch" in t.text)
    terminal.press("\x03")
    assert terminal.wait() == 130
    assert_restored(terminal)
    assert "stopped, all of it in" in terminal.text
    run = tmp_path / "runs" / "r"
    assert not is_live(run)
    assert find.newest(run).step == find.about(run).step == steps(tmp_path)
    assert find.about(run).branch == 0


def begun(process: subprocess.Popen[str]) -> None:
    """Wait for the first report."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step ") and "d_loss" in line:
            return


IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


def ignore() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def test_what_whoever_starts_us_ignores_stays_ignored(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*TRAIN, "--headless"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=ignore,  # noqa: PLW1509
    )
    # While it is being loaded, and once it trains.
    for wait in (lambda: time.sleep(0.3), lambda: begun(process)):
        wait()
        for number in IGNORED:
            process.send_signal(number)
    begun(process)
    begun(process)
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    assert process.wait(DEADLINE) == 143


def test_a_host_saves_at_a_warning_and_keeps_what_is_ignored(tmp_path: Path, hosts: None) -> None:
    done = subprocess.run(
        [*TRAIN, "--detach"],
        cwd=tmp_path,
        capture_output=True,
        preexec_fn=ignore,
    )
    assert done.returncode == 0
    pointer: Pointer = pointers()[0]
    for number in IGNORED:
        os.kill(pointer.pid, number)
    until(trains_now(tmp_path))
    os.kill(pointer.pid, signal.SIGUSR2)
    until(lambda: not pointers())
    assert events(tmp_path)[-1]["reason"] == "SIGUSR2"
    assert find.newest(tmp_path / "runs" / "r").step == events(tmp_path)[-1]["step"]
