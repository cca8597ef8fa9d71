"""People come and go for half an hour: a run holds on to nothing of theirs, and learns the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from ganterm.cli import runs
from ganterm.rundir import find
from ganterm.session import address, wire
from ganterm.session.client import RemoteSession
from tests.cli.test_attach import pointed
from tests.helpers.deadlines import until
from tests.helpers.terminal import GANTERM, Terminal, running

MINUTES = float(os.environ.get("GANTERM_SOAK_MINUTES", "30"))
WARM_UP_MINUTES = 5.0
"""In which torch, the exams and the history come to the memory that they need."""
VISIT_SECONDS = 25.0
PATIENCE = 180.0
WAYS = ("q", "hang up", "kill")
OPTIONS = ("--preset", "mnist_mlp", "--seed", "3", "--device", "cpu")


@dataclass(frozen=True)
class Look:
    """What a process held on to at some minute."""

    minute: float
    megabytes: float
    descriptors: int
    threads: int
    step: int


def start(folder: Path, name: str, *more: str) -> psutil.Process:
    done = subprocess.run(
        [*GANTERM, *OPTIONS, "--run", name, "--detach", *more],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return psutil.Process(pointed(name).pid)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[dict[str, psutil.Process]]:
    """Two runs of one seed in the background, of which one will be watched."""
    processes = {name: start(tmp_path, name) for name in ("watched", "alone")}
    yield processes
    for process in processes.values():
        if process.is_running():
            process.send_signal(signal.SIGKILL)


def look(folder: Path, name: str, process: psutil.Process, began: float) -> Look:
    return Look(
        (time.monotonic() - began) / 60,
        process.memory_info().rss / 1e6,
        process.num_fds(),
        process.num_threads(),
        runs._newest_step(folder / "runs" / name),
    )


def visit(folder: Path, way: str) -> None:
    """Attach for a while, change the view and a control back and forth, and leave in some way."""
    terminal = Terminal([*GANTERM, "attach", "watched"], folder, 120, 36)
    terminal.until(running, PATIENCE)
    terminal.press("v?")
    terminal.until(lambda t: "esc closes" in t.text, PATIENCE)
    terminal.press("\x1b")
    terminal.until(lambda t: "esc closes" not in t.text, PATIENCE)
    terminal.press("p")
    # Nobody reads for a while.
    time.sleep(VISIT_SECONDS / 2)
    end = time.monotonic() + VISIT_SECONDS / 2
    while time.monotonic() < end:
        terminal.read_raw(0.1)
    if way == "q":
        terminal.press("q")
        terminal.until(lambda t: "leave it training" in t.text, PATIENCE)
        terminal.press("l")
        assert terminal.wait(PATIENCE) == 0
    elif way == "hang up":
        terminal.hang_up()
        terminal.process.wait(timeout=PATIENCE)
    terminal.close()


def slope(looks: list[Look]) -> float:
    """Megabytes an hour, the median of the slopes between all pairs (Theil and Sen)."""
    pairs = [(a, b) for i, a in enumerate(looks) for b in looks[i + 1 :]]
    return float(
        np.median([60 * (b.megabytes - a.megabytes) / (b.minute - a.minute) for a, b in pairs])
    )


def report(looks: dict[str, list[Look]]) -> str:
    lines = ["", "minute  watched: MB  fds  threads  step   alone: MB  fds  threads  step"]
    for one, other in zip(looks["watched"], looks["alone"], strict=True):
        lines.append(
            f"{one.minute:6.1f}"
            + "".join(
                f"{seen.megabytes:12.1f}{seen.descriptors:5}{seen.threads:9}{seen.step:9,}"
                for seen in (one, other)
            )
        )
    return "\n".join(lines)


@pytest.mark.slow
def test_a_run_that_is_watched_for_long_holds_on_to_nothing(
    tmp_path: Path, pair: dict[str, psutil.Process], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    looks: dict[str, list[Look]] = {name: [] for name in pair}
    deaf = address.connect_to(pointed("watched"))
    deaf.sendall(wire.frame(wire.Hello(wire.PROTOCOL)) + wire.frame(wire.Watch(10.0)))
    onlooker = RemoteSession(pointed("watched"), readonly=True)
    onlooker.start()
    onlooker.watch(4.0)
    minute = 0
    while minute < MINUTES:
        visit(tmp_path, WAYS[minute % len(WAYS)])
        minute += 1
        time.sleep(max(0.0, began + 60 * minute - time.monotonic()))
        for name, process in pair.items():
            looks[name].append(look(tmp_path, name, process, began))
        if minute == MINUTES // 2:
            # Whoever has not read for long comes back to the newest.
            onlooker.watch(0.0)
    seen = onlooker.snapshot.step
    until(lambda: onlooker.snapshot.step > seen)
    onlooker.close()
    deaf.close()

    last = {}
    for name in ("alone", "watched"):
        done = subprocess.run(
            [*GANTERM, "stop", name], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        last[name] = find.newest(tmp_path / "runs" / name)
    warm = {
        name: [seen for seen in found if seen.minute > min(WARM_UP_MINUTES, MINUTES / 3)]
        for name, found in looks.items()
    }
    slopes = {name: slope(found) for name, found in warm.items()}
    with capsys.disabled():
        print(report(looks))
        print(
            "MB an hour after the warm-up: " + ", ".join(f"{n} {s:.1f}" for n, s in slopes.items())
        )
        print(f"steps: {last['watched']}, {last['alone']}")
    # A checkpoint that is being written takes a thread and a descriptor for an instant.
    for found in warm.values():
        half = len(found) // 2
        for held in ("descriptors", "threads"):
            early, late = (
                [getattr(seen, held) for seen in part] for part in (found[:half], found[half:])
            )
            assert np.median(late) <= np.median(early)
    assert_the_same_weights(tmp_path)
    most = max(seen.megabytes for seen in warm["watched"])
    assert most < max(seen.megabytes for seen in warm["alone"]) + 20


def assert_the_same_weights(folder: Path) -> None:
    """Whichever run is behind goes on to the other's step; then they are equal bit for bit."""
    ends = {name: find.newest(folder / "runs" / name) for name in ("watched", "alone")}
    goal = max(end.step for end in ends.values() if end is not None)
    for name, end in ends.items():
        if end is not None and end.step < goal:
            words = ["resume", name, "--headless", "--steps", str(goal)]
            done = subprocess.run([*GANTERM, *words], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    tensors = [
        load_file(
            folder
            / "runs"
            / name
            / "checkpoints"
            / str(find.newest(folder / "runs" / name))
            / "tensors.safetensors"
        )
        for name in ends
    ]
    assert tensors[0].keys() == tensors[1].keys()
    different = [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])]
    assert different == []
