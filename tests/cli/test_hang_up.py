"""A terminal that goes away, stalls or is left: training goes on, and nothing is left behind."""

from __future__ import annotations

import json
import os
import pty
import random
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from ganterm.dashboard.terminal.line import MOST_WAITING, Line
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import (
    GANTERM,
    TRAINER_FAILS,
    Start,
    Terminal,
    assert_restored,
    events,
    running,
)

STALL_SECONDS = 5.0
LONG_STALL_SECONDS = 60.0
HANG_UPS = 100
HOSTS, CLIENTS = 5, 20
"""So many more: clients of another process, at each of so many trainers."""


def steps_logged(folder: Path) -> list[int]:
    lines = (folder / "runs" / "r" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines[1:]]


def step_now(folder: Path, run: str = "r") -> int:
    return (folder / "runs" / run / "metrics.jsonl").read_bytes().count(b"\n") - 1


def has_reached(folder: Path, step: int, _: Terminal) -> bool:
    return step_now(folder) >= step


def open_terminals(pid: int) -> list[str]:
    handles = (handle.readlink() for handle in Path(f"/proc/{pid}/fd").iterdir())
    return [str(at) for at in handles if str(at).startswith(("/dev/pts", "/dev/tty"))]


def memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def detached(folder: Path) -> list[str]:
    """What made the dashboard go, as the log says."""
    found = events(folder) if (folder / "runs" / "r" / "events.jsonl").exists() else []
    return [event["cause"] for event in found if event["kind"] == "detach"]


def assert_no_step_lost(folder: Path) -> None:
    steps = steps_logged(folder)
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.parametrize("controlling", [True, False])
def test_training_survives_its_terminal(start: Start, tmp_path: Path, controlling: bool) -> None:
    terminal = start(controlling=controlling)
    terminal.until(running)
    terminal.hang_up()
    until(lambda: detached(tmp_path))
    assert detached(tmp_path)[0] in (("SIGHUP", "EIO", "EOF") if controlling else ("EIO", "EOF"))
    log = tmp_path / "runs" / "r" / "host.log"
    until(lambda: log.exists() and "training goes on" in log.read_text())
    before = step_now(tmp_path)
    until(lambda: step_now(tmp_path) > before + 100)
    assert open_terminals(terminal.process.pid) == []
    terminal.signal(signal.SIGTERM)
    assert terminal.process.wait(DEADLINE) == 143
    assert events(tmp_path)[-1]["reason"] == "SIGTERM"
    assert_no_step_lost(tmp_path)


def test_a_sighup_alone_gives_the_terminal_back_and_ctrl_c_ends_the_run(
    start: Start, tmp_path: Path
) -> None:
    terminal = start()
    terminal.until(running)
    terminal.signal(signal.SIGHUP)
    terminal.until(lambda t: b"\x1b[?1004l" in t.raw)
    assert_restored(terminal)
    before = step_now(tmp_path)
    until(lambda: step_now(tmp_path) > before + 100)
    assert detached(tmp_path) == ["SIGHUP"]
    terminal.press("\x03")
    assert terminal.wait() == 130
    assert terminal.raw.endswith((b"\x1b[?1004l", b"^C"))
    assert_no_step_lost(tmp_path)


def test_without_its_terminal_a_resting_run_takes_no_processor(
    start: Start, tmp_path: Path
) -> None:
    terminal = start()
    terminal.until(running)
    terminal.press(" ")
    terminal.until(lambda t: "paused" in t.text)
    terminal.hang_up()
    until(lambda: detached(tmp_path))
    until(lambda: open_terminals(terminal.process.pid) == [])
    time.sleep(0.5)
    before = cpu_seconds(terminal.process.pid)
    time.sleep(2)
    assert cpu_seconds(terminal.process.pid) - before < 0.5
    terminal.signal(signal.SIGTERM)
    assert terminal.process.wait(DEADLINE) == 143


def test_headless_training_survives_its_terminal_too(start: Start, tmp_path: Path) -> None:
    terminal = start("--headless", "--steps", "3000")
    terminal.until(lambda t: (tmp_path / "runs" / "r" / "metrics.jsonl").exists())
    terminal.until(lambda t: step_now(tmp_path) > 50)
    terminal.hang_up()
    assert terminal.process.wait(DEADLINE) == 0
    assert steps_logged(tmp_path) == list(range(1, 3001))
    log = (tmp_path / "runs" / "r" / "host.log").read_text()
    assert "training goes on" in log
    assert "\x1b" not in log


def hang_up_at_a_random_moment(start: Start, folder: Path, chance: random.Random) -> None:
    """A run of some seconds whose terminal goes at any moment, the loading and the end included."""
    terminal = start("--steps", "1500", controlling=chance.random() < 0.6)
    terminal.until(lambda t: b"\x1b[?1049h" in t.raw)
    end = time.monotonic() + chance.uniform(0, 7)
    while time.monotonic() < end:
        terminal.read(end - time.monotonic())
    terminal.hang_up()
    assert terminal.process.wait(DEADLINE) == 0
    assert steps_logged(folder) == list(range(1, 1501))
    found = events(folder)
    assert [event["state"] for event in found if event["kind"] == "stop"] == ["finished"]
    assert (folder / "runs" / "r" / "checkpoints" / "LATEST").exists()
    assert_no_orphans(terminal)


def assert_no_orphans(terminal: Terminal) -> None:
    """Nothing is left of the session that the terminal's program had."""
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            assert os.getsid(pid) != terminal.process.pid


def test_a_hang_up_while_it_loads(start: Start, tmp_path: Path) -> None:
    hang_up_at_a_random_moment(start, tmp_path, random.Random(3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(HANG_UPS))
def test_hang_ups_at_random_moments(start: Start, tmp_path: Path, seed: int) -> None:
    hang_up_at_a_random_moment(start, tmp_path, random.Random(seed))


def harm_a_client(folder: Path, chance: random.Random) -> None:
    """Attach, and go without a word at any moment, the loading included."""
    command = [*GANTERM, "attach", "r"]
    terminal = Terminal(command, folder, controlling=chance.random() < 0.6)
    end = time.monotonic() + chance.uniform(0, 3)
    while time.monotonic() < end:
        terminal.read_raw(0.05)
    way = chance.choice((signal.SIGKILL, signal.SIGHUP, None))
    if way is None:
        terminal.hang_up()
    else:
        terminal.signal(way)
    terminal.process.wait(DEADLINE)
    assert_no_orphans(terminal)
    terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(HOSTS))
def test_clients_that_go_at_random_moments(start: Start, tmp_path: Path, seed: int) -> None:
    terminal, chance = start("--headless"), random.Random(seed)
    terminal.until(lambda t: (tmp_path / "runs" / "r" / "metrics.jsonl").exists())
    for _ in range(CLIENTS):
        before = step_now(tmp_path)
        harm_a_client(tmp_path, chance)
        terminal.until(partial(has_reached, tmp_path, before + 20))
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_no_orphans(terminal)
    assert_no_step_lost(tmp_path)
    assert [event["kind"] for event in events(tmp_path)].count("stop") == 1


def comes_back(terminal: Terminal, after: int) -> float:
    """Read again until the picture is of a step behind ``after``; how many seconds that took."""
    began = time.monotonic()
    while shown_step(terminal) <= after:
        terminal.read(0.05)
        assert time.monotonic() - began < 60, terminal.text
    seconds = time.monotonic() - began
    terminal.press("?")
    terminal.until(lambda t: "esc closes" in t.text)
    terminal.press("\x1b")
    terminal.until(running)
    return seconds


def shown_step(terminal: Terminal) -> int:
    words = terminal.text.split()
    shown = words[words.index("step") + 1] if "step" in words else "0"
    digits = shown.replace(",", "")
    return int(digits) if digits.isdigit() else 0


def test_a_terminal_that_does_not_read_for_a_while(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.until(running)
    marks = [(time.monotonic(), step_now(tmp_path))]
    for wait in (terminal.read, time.sleep):
        wait(STALL_SECONDS)
        marks.append((time.monotonic(), step_now(tmp_path)))
    (start_of, first), (turn, before), (end, after) = marks
    stalled, read = (after - before) / (end - turn), (before - first) / (turn - start_of)
    # What else runs on this machine may halve either; a trainer that waits does no step at all.
    assert stalled > 0.4 * read > 0
    comes_back(terminal, after)
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_restored(terminal)
    assert_no_step_lost(tmp_path)


@pytest.mark.slow
def test_a_terminal_that_does_not_read_for_a_minute(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a run without a screen, on the same machine at the same time."""
    runs = {"r": start(), "twin": start("--headless", "--run", "twin")}
    runs["r"].until(running)

    def read(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for terminal in runs.values():
                terminal.read_raw(0.05)

    def standing(name: str) -> tuple[int, float]:
        return step_now(tmp_path, name), memory_mb(runs[name].process.pid)

    # In its first minute training itself takes more and more: torch, exams, rows.
    read(LONG_STALL_SECONDS)
    before = {name: standing(name) for name in runs}
    end = time.monotonic() + LONG_STALL_SECONDS
    while time.monotonic() < end:
        runs["twin"].read_raw(0.05)
    after = {name: standing(name) for name in runs}
    steps, grown = ({name: after[name][i] - before[name][i] for name in runs} for i in (0, 1))
    seconds = comes_back(runs["r"], after["r"][0])
    with capsys.disabled():
        print(
            f"\nstalled for {LONG_STALL_SECONDS:.0f} s: {steps['r'] / steps['twin']:.3f} of the "
            f"steps of a run without a screen, {grown['r']:.1f} MB more against "
            f"{grown['twin']:.1f}; the picture was back after {seconds:.2f} s"
        )
    assert steps["r"] > 0.9 * steps["twin"]
    assert grown["r"] < max(0.0, grown["twin"]) + 20
    for terminal in runs.values():
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 143
    assert_restored(runs["r"])
    assert_no_step_lost(tmp_path)


def test_a_stalled_terminal_holds_up_neither_save_nor_exit_and_is_restored(
    start: Start, tmp_path: Path
) -> None:
    terminal = start()
    terminal.until(running)
    time.sleep(3)  # Nobody reads.
    terminal.signal(signal.SIGTERM)
    assert terminal.process.wait(DEADLINE) == 143
    terminal.read(0.5)
    assert_restored(terminal)
    assert events(tmp_path)[-1]["reason"] == "SIGTERM"
    assert (tmp_path / "runs" / "r" / "checkpoints" / "LATEST").exists()


MEDDLED = """
import pathlib, time
{}
from ganterm.cli.commands import main
main()
"""
HANGS = """
from ganterm.dashboard.app import Dashboard
tick = Dashboard._tick
def hang(self):
    while pathlib.Path("now").exists():
        time.sleep(0.05)
    tick(self)
Dashboard._tick = hang
"""
BREAKS = """
from ganterm.dashboard.screens.cockpit import CockpitScreen
def fail(self, event):
    1 / (not pathlib.Path("now").exists())
CockpitScreen.on_screen_resume = fail
"""


@pytest.fixture
def meddled(tmp_path: Path) -> Iterator[Callable[[str], Terminal]]:
    """Start ganterm with something in it that goes wrong once the file "now" is there."""
    opened: list[Terminal] = []

    def make(wrong: str) -> Terminal:
        command = [sys.executable, "-c", MEDDLED.format(wrong), "--preset", "ring8", "--run", "r"]
        opened.append(Terminal([*command, "--device", "cpu"], tmp_path, columns=100, rows=30))
        opened[-1].until(running)
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()


def test_a_signal_ends_it_where_the_dashboard_hangs(
    meddled: Callable[[str], Terminal], tmp_path: Path
) -> None:
    terminal = meddled(HANGS)
    (tmp_path / "now").touch()
    terminal.read(1)
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_restored(terminal)
    assert events(tmp_path)[-1]["kind"] == "stop"


def test_a_dashboard_that_breaks_leaves_the_training_alone(
    meddled: Callable[[str], Terminal], tmp_path: Path
) -> None:
    terminal = meddled(BREAKS)
    (tmp_path / "now").touch()
    terminal.press("?")
    terminal.until(lambda t: "esc closes" in t.text)
    terminal.press("\x1b")
    terminal.until(lambda t: "training goes on without a screen" in t.text)
    assert_restored(terminal)
    terminal.until(partial(has_reached, tmp_path, step_now(tmp_path) + 100))
    terminal.press("\x03")
    assert terminal.wait() == 130
    assert events(tmp_path)[-1]["reason"] == "SIGINT"
    assert_no_step_lost(tmp_path)


def test_a_run_that_failed_goes_on_from_its_newest_checkpoint(
    meddled: Callable[[str], Terminal], tmp_path: Path
) -> None:
    terminal = meddled(TRAINER_FAILS)
    terminal.press("w")
    terminal.until(lambda t: "checkpoint" in [event["kind"] for event in events(tmp_path)])
    (tmp_path / "now").touch()
    terminal.until(lambda t: "no batch to be had" in t.text and "R goes on" in t.text)
    failed = next(event for event in events(tmp_path) if event["kind"] == "error")
    terminal.press("R")
    terminal.until(lambda t: "resume" in [event["kind"] for event in events(tmp_path)])
    terminal.until(lambda t: running(t) and shown_step(t) > failed["step"])
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_restored(terminal)


def test_ctrl_z_and_sigtstp_do_not_stop_the_training(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.until(running)
    for ask in (lambda: terminal.press("\x1a"), lambda: terminal.signal(signal.SIGTSTP)):
        ask()
        terminal.until(lambda t: "Ctrl+Z would stop" in t.text)
        terminal.until(partial(has_reached, tmp_path, step_now(tmp_path) + 50))
        terminal.until(lambda t: "Ctrl+Z would stop" not in t.text)
    threads = len(list(Path(f"/proc/{terminal.process.pid}/task").iterdir()))
    for _ in range(5):
        terminal.signal(signal.SIGCONT)
        terminal.read(0.2)
    assert len(list(Path(f"/proc/{terminal.process.pid}/task").iterdir())) <= threads
    terminal.press("K")
    terminal.until(lambda t: "k 2" in t.text)


LOOKING_ON = """
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.terminal.line import Line
from ganterm.session.board import Board
Dashboard(Board(), line=Line(), suspends=True).run()
"""


def test_what_does_not_train_is_suspended_and_comes_back(tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-c", LOOKING_ON], tmp_path)

    def state() -> str:
        stat = Path(f"/proc/{terminal.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    try:
        terminal.until(lambda t: "Losses" in t.text)
        for _ in range(2):
            terminal.press("\x1a")
            terminal.until(lambda t: state() == "T")
            terminal.read(0.3)
            assert_restored(terminal)
            seen = len(terminal.raw)
            terminal.signal(signal.SIGCONT)
            terminal.read(1)
            terminal.until(lambda t: state() != "T")
            assert b"Losses" in terminal.raw[seen:]
            assert b"\x1b[?1049h" in terminal.raw[seen:]
        terminal.press("?")
        terminal.until(lambda t: "esc closes" in t.text)
    finally:
        terminal.close()


def test_frames_that_nobody_reads_are_dropped_whole() -> None:
    master, slave = pty.openpty()
    settings = termios.tcgetattr(slave)
    line, caught_up = Line(slave), threading.Event()
    line.caught_up = caught_up.set
    frame = b"(" + b"x" * 9_998 + b")"
    line.start()
    began = time.monotonic()
    for _ in range(2_000):
        line.offer(frame)
    assert line._waiting and sum(map(len, line._waiting)) <= MOST_WAITING
    until(lambda: line.stalled and line.behind)
    read = b""
    while not caught_up.is_set() or read.count(b"(") > read.count(b")"):
        # All may have been read before the line says that it has caught up.
        if select.select([master], [], [], 0.1)[0]:
            read += os.read(master, 65_536)
        assert time.monotonic() - began < 60
    assert read.count(frame) == read.count(b"(") < 2_000
    assert not line.stalled and not line.behind
    line.offer(b"again")
    assert os.read(master, 100) == b"again"
    line.close()
    assert termios.tcgetattr(slave) == settings
    os.close(master)
    os.close(slave)


def test_a_line_that_breaks_says_so_once() -> None:
    master, slave = pty.openpty()
    line = Line(slave)
    told: list[str] = []
    line.lost = told.append
    line.start()
    os.close(master)
    for _ in range(3):
        line.offer(b"frame")
        time.sleep(0.1)
    assert told == ["EIO"]
    line.close()
    line.restore()
    line.release()
    os.close(slave)


def test_the_shells_own_description_stays_blocking(tmp_path: Path) -> None:
    terminal = Terminal([*GANTERM, "presets"], tmp_path)
    assert os.get_blocking(terminal.slave)
    line = Line(terminal.slave)
    line.start()
    assert os.get_blocking(terminal.slave)
    line.close()
    terminal.wait()
    terminal.close()
