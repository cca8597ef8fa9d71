"""The programs that ``bench`` compares, their turns, and the ratios of their speeds."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganterm import presets, search_path
from ganterm.core.errors import UserError
from ganterm.presets import Preset
from ganterm.system.signals import ENDING, handle

COLUMNS, ROWS = 120, 36
"""Size of the dashboard's terminal."""
UNDIAGNOSED = "without diagnosis"
GRAPHS = "with CUDA graphs"
TUTORIAL = "tutorial"
TUTORIAL_FREE = "tutorial, torch's threads"
_NAMES = len(TUTORIAL_FREE)
_SETTLE = 0.25
"""Share of each turn, at its beginning, that does not count: the CPU's caches fill again."""
_START_SECONDS = 120
"""Seconds in which all programs must have begun to train."""


@dataclass
class Program:
    """A program that is measured.

    ``turns``: start and end of each, in seconds of the system's clock. ``sent``: bytes sent to
    ``terminal``, in all; ``sent_in_turns``: bytes sent in its turns.
    """

    name: str
    process: subprocess.Popen[bytes]
    folder: Path
    terminal: int | None = None
    turns: list[tuple[float, float]] = field(default_factory=list)
    sent: int = 0
    sent_in_turns: int = 0

    def step_times(self) -> NDArray[np.float64]:
        """The time at the end of each step, in seconds of the system's clock."""
        times = self.folder / "times"
        if times.exists():
            return np.loadtxt(times, ndmin=1)
        start = json.loads((self.folder / "events.jsonl").read_text().splitlines()[0])
        began = datetime.fromisoformat(start["time"]).timestamp()
        return began + np.fromfile(self.folder / "history" / "elapsed.f4", "<f4").astype(float)

    def started(self) -> bool:
        """Whether it has begun to train."""
        probe = self.folder / "times"
        if not probe.exists():
            probe = self.folder / "history" / "elapsed.f4"
        return probe.exists() and probe.stat().st_size > 0

    def signal(self, number: int) -> None:
        """Send a signal to the program and its children, if they still exist."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def forget_turns(self) -> None:
        """Forget the turns so far: they do not count."""
        self.turns.clear()
        self.sent_in_turns = 0

    def read_terminal(self) -> None:
        """Read what the program sends to its terminal, until it has ended."""
        assert self.terminal is not None
        # Reading fails with EIO once nobody has the other end open.
        with os.fdopen(self.terminal, "rb", buffering=0) as terminal, suppress(OSError):
            while chunk := terminal.read(65_536):
                self.sent += len(chunk)

    def rates(self) -> NDArray[np.float64]:
        """Steps per second in each turn."""
        times = self.step_times()
        rates = []
        for start, end in self.turns:
            since = start + _SETTLE * (end - start)
            rates.append(float(((times >= since) & (times < end)).sum()) / (end - since))
        return np.array(rates)


def _start(name: str, command: list[str], folder: Path, on_terminal: bool) -> Program:
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    if not on_terminal:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return Program(name, process, folder)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    program = Program(name, process, folder, ours)
    threading.Thread(target=program.read_terminal, daemon=True).start()
    return program


def _start_tutorial(name: str, preset: str, runs: Path, threads: int | None) -> Program:
    folder = runs / name.replace(" ", "-")
    folder.mkdir()
    more = [str(threads)] if threads else []
    times = str(folder / "times")
    command = search_path.python("ganterm.bench.tutorial", preset, times, *more)
    return _start(name, command, folder, False)


def _starts(preset: str, runs: Path, loaded: Preset) -> list[Callable[[], Program]]:
    """A function that starts each program, in the order of their turns."""
    from ganterm.training.device import DEFAULT_THREADS, resolve_device

    threads = loaded.run.threads or DEFAULT_THREADS
    command = search_path.python("ganterm", "--preset", preset, "--runs-dir", str(runs))

    def ours(name: str, run: str, *more: str, on_terminal: bool = False) -> Program:
        return _start(name, [*command, "--run", run, *more], runs / run, on_terminal)

    starts: list[Callable[[], Program]] = [
        partial(ours, "headless", "headless", "--headless"),
        partial(ours, "dashboard", "dashboard", on_terminal=True),
        partial(ours, UNDIAGNOSED, "undiagnosed", "--headless", "--set", "run.diagnosis=0"),
        partial(_start_tutorial, TUTORIAL, preset, runs, threads),
        partial(_start_tutorial, TUTORIAL_FREE, preset, runs, None),
    ]
    if resolve_device("auto").type == "cuda":
        replayed = ("--headless", "--set", "run.cuda_graphs=true")
        starts.append(partial(ours, GRAPHS, "graphs", *replayed))
    return starts


class Ending:
    """Lets signals end the benchmark only while it waits.

    The benchmark ends its programs when it ends; otherwise they would train for ever. A signal that
    came while a program was being started or ended could leave one behind.
    """

    def __init__(self) -> None:
        self._number = 0
        self._signalled = threading.Event()
        handle((*ENDING, signal.SIGHUP), self._on_signal)

    def wait(self, seconds: float) -> None:
        """Sleep. SystemExit, with the shell's code, if a signal has come or comes meanwhile."""
        if self._signalled.wait(seconds):
            sys.exit(128 + self._number)

    def _on_signal(self, number: int, _: object) -> None:
        self._number = number
        self._signalled.set()


@dataclass(frozen=True)
class Start:
    """What was measured after one start of the programs.

    ``rates``: steps per second in each turn, by program. ``bytes_per_s``: what the dashboard sent
    to its terminal. ``tick``: seconds of one core that the dashboard needs for one drawing.
    """

    rates: dict[str, NDArray[np.float64]]
    bytes_per_s: float
    tick: float


def bench(preset: str, rounds: int, seconds: float, starts: int) -> None:
    """Give each program ``rounds`` turns, divided among ``starts``, and print the ratios.

    ``seconds``: length of a turn. UserError if a program does not start to train.
    """
    _, loaded = presets.load(preset)
    ending = Ending()
    shares = np.array_split(np.arange(rounds), min(starts, rounds))
    results = [_measure(preset, loaded, turns.tolist(), seconds, ending) for turns in shares]
    _print_report(results, preset)


def _measure(
    preset: str, loaded: Preset, turns: list[int], seconds: float, ending: Ending
) -> Start:
    with tempfile.TemporaryDirectory(prefix="ganterm-bench-") as folder:
        programs: list[Program] = []
        try:
            for start in _starts(preset, Path(folder), loaded):
                programs.append(start())
            _await_start(programs, ending)
            for program in programs:
                program.signal(signal.SIGSTOP)
            for program in programs:
                # This turn does not count: the dashboard is still adjusting its frame rate.
                _take_turn(program, seconds, ending)
                program.forget_turns()
            for turn in turns:
                # Each program comes first in some turns.
                first = turn % len(programs)
                for program in (*programs[first:], *programs[:first]):
                    _take_turn(program, seconds, ending)
        finally:
            for program in programs:
                program.signal(signal.SIGTERM)
                program.signal(signal.SIGCONT)
            for program in programs:
                program.process.wait(timeout=60)
        rates = {program.name: program.rates() for program in programs}
        dashboard = programs[1]
        running = sum(until - since for since, until in dashboard.turns)
        cost = _cost(dashboard)
        tick = cost["busy_s"] / max(1, cost["ticks"])
        return Start(rates, dashboard.sent_in_turns / running, tick)


def _await_start(programs: list[Program], ending: Ending) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not all(program.started() for program in programs):
        for program in programs:
            if program.process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"bench: the {program.name} program did not start to train here")
        ending.wait(0.1)


def _take_turn(program: Program, seconds: float, ending: Ending) -> None:
    sent, start = program.sent, time.time()
    program.signal(signal.SIGCONT)
    ending.wait(seconds)
    program.signal(signal.SIGSTOP)
    program.turns.append((start, time.time()))
    program.sent_in_turns += program.sent - sent


def interval(starts: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median of all ratios, 2,000 resamples.

    ``starts``: for each start, the ratios of its turns. Resampling has two stages, as for grouped
    data (Davison and Hinkley 1997): starts, then turns of each, since a process is faster or slower
    in all its turns, depending on its place in memory. In simulations the interval covers the true
    median in 92 to 97 % of cases for 8 starts with 2 turns, in 86 to 93 % for 4 with 4; fewer
    starts say little.
    """
    random = np.random.default_rng(0)
    medians = [
        np.median(np.concatenate([random.choice(starts[i], len(starts[i])) for i in sample]))
        for sample in random.integers(len(starts), size=(2000, len(starts)))
    ]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def _print_report(starts: list[Start], preset: str) -> None:
    if not all(rate.all() for start in starts for rate in start.rates.values()):
        raise UserError("bench: no step was completed in a turn; make turns longer with --seconds")
    names = list(starts[0].rates)
    turns = sum(len(start.rates[names[0]]) for start in starts)
    print(
        f"{preset}, {os.cpu_count()} cores, {turns} turns each in {len(starts)} starts, "
        "steps/s as median:"
    )
    for name in names:
        rates = np.concatenate([start.rates[name] for start in starts])
        print(f"  {name:<{_NAMES}} {np.median(rates):8.1f}")
    pairs = [
        ("dashboard", "headless"),
        ("headless", UNDIAGNOSED),
        ("headless", TUTORIAL),
        ("headless", TUTORIAL_FREE),
    ]
    for above, below in pairs + [(GRAPHS, "headless")] * (GRAPHS in names):
        ratios = [start.rates[above] / start.rates[below] for start in starts]
        low, high = interval(ratios)
        name, median = f"{above} / {below}", np.median(np.concatenate(ratios))
        print(f"{name:<{_NAMES + 12}} {median:.3f}  (95 %: {low:.3f} to {high:.3f})")
    print(
        f"drawing: {1000 * np.median([start.tick for start in starts]):.1f} ms of one core a tick, "
        f"{np.median([start.bytes_per_s for start in starts]) / 1000:.1f} KB/s to the terminal "
        f"at {COLUMNS}x{ROWS}"
    )


def _cost(dashboard: Program) -> dict[str, float]:
    lines = (dashboard.folder / "events.jsonl").read_text().splitlines()
    detached = [event for event in map(json.loads, lines) if event["kind"] == "detach"]
    if not detached:
        raise UserError("bench: the dashboard ended without reporting its cost")
    return dict(detached[-1])
