"""A terminal that goes away, stalls or is left: the training goes on, and nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import Start, Terminal, assert_restored, events, running


def steps_logged(folder: Path) -> list[int]:
    lines = (folder / "runs" / "r" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines[1:]]


def step_now(folder: Path) -> int:
    """How many whole rows are in the log."""
    return (folder / "runs" / "r" / "metrics.jsonl").read_bytes().count(b"\n") - 1


def await_that(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def open_terminals(process: subprocess.Popen[bytes]) -> list[str]:
    folder = Path(f"/proc/{process.pid}/fd")
    return [
        str(at) for at in (handle.readlink() for handle in folder.iterdir()) if "pts" in str(at)
    ]


def detached(folder: Path) -> dict[str, Any] | None:
    return next((e for e in events(folder) if e["kind"] == "detach"), None)


def kill_the_client(terminal: Terminal) -> None:
    terminal.signal(signal.SIGHUP)


WAYS = {"hang-up": Terminal.hang_up, "SIGHUP alone": kill_the_client}


@pytest.mark.parametrize("way", WAYS)
def test_training_survives_its_terminal_and_ends_when_told(
    start: Start, tmp_path: Path, way: str
) -> None:
    terminal = start()
    terminal.until(running)
    WAYS[way](terminal)
    if terminal.master >= 0:
        terminal.until(lambda t: detached(tmp_path) is not None)
        terminal.read(1)
        assert_restored(terminal)
    await_that(lambda: detached(tmp_path) is not None)
    assert detached(tmp_path)["cause"] in ("SIGHUP", "EIO", "EOF")
    log = tmp_path / "runs" / "r" / "host.log"
    await_that(log.exists)
    before = step_now(tmp_path)
    await_that(lambda: step_now(tmp_path) > before + 100)
    assert terminal.process.poll() is None
    assert open_terminals(terminal.process) == []
    terminal.signal(signal.SIGTERM)
    assert terminal.process.wait(timeout=30) == 143
    assert events(tmp_path)[-1]["kind"] == "stop"
    assert events(tmp_path)[-1]["reason"] == "SIGTERM"
    steps = steps_logged(tmp_path)
    assert steps == list(range(1, len(steps) + 1))
    assert "training goes on" in log.read_text()
