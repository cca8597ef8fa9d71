from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ganterm import presets
from ganterm.launch import Launch
from ganterm.session.address import pointers
from ganterm.session.local import LocalSession
from tests.helpers.deadlines import DEADLINE
from tests.helpers.processes import starts_processes
from tests.helpers.terminal import GANTERM, Start, Terminal

# Set before torch is loaded. Several pytest workers with a torch thread for each core wait for each
# other: a test of half a second then takes fifteen.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests may be started in the background, where a shell or nohup has these ignored. Every program
# that a test starts would inherit that, and ganterm leaves an ignored signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Hypothesis' own deadline for an example measures the machine more than the program.
settings.register_profile("ganterm", deadline=None)
settings.load_profile("ganterm")

TINY = ("generator.hidden=[16]", "discriminator.hidden=[16]", "data.batch_size=8")
"""Overrides that make a preset's networks small enough for tests."""

Train = Callable[..., LocalSession]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that start a process, and leave out the slow ones unless -m names them."""
    for item in items:
        if isinstance(item, pytest.Function) and starts_processes(item):
            item.add_marker("process")
    if "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test runtime and cache directories of its own.

    Neither the test nor a process that it starts can then see a live run of the user's. The folder
    is not below ``tmp_path``, whose path may be too long for a socket.
    """
    with tempfile.TemporaryDirectory(prefix="gt-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("XDG_CACHE_HOME", f"{folder}/cache")
        yield Path(folder)


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launch]:
    """Make launches of a tiny preset into the test's own folder."""

    def make(
        *overrides: str,
        preset: str = "mnist_mlp",
        steps: int | None = 5,
        name: str = "run",
        tiny: tuple[str, ...] = TINY,
    ) -> Launch:
        known, loaded = presets.load(preset, [*tiny, *overrides])
        return Launch(known, loaded, "cpu", steps, None, tmp_path / "runs", name)

    return make


@pytest.fixture
def train(launch: Callable[..., Launch]) -> Train:
    """Train a tiny preset to its end and return the session."""

    def run(*overrides: str, **options: object) -> LocalSession:
        session = LocalSession(launch(*overrides, **options))
        session.start()
        assert session.ended.wait(DEADLINE)
        return session

    return run


@pytest.fixture
def live(launch: Callable[..., Launch]) -> Iterator[LocalSession]:
    """Train in this process; a dashboard can attach to the run."""
    session = LocalSession(launch(steps=None))
    session.start()
    end = time.monotonic() + DEADLINE
    while not (session.snapshot.step and pointers()):
        assert time.monotonic() < end
        time.sleep(0.02)
    yield session
    session.stop("the test is over")
    assert session.ended.wait(DEADLINE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ganterm on a terminal of its own, with a tiny preset and the run name "r"."""
    opened: list[Terminal] = []
    small = [part for override in TINY for part in ("--set", override)]

    def make(*arguments: str, **options: Any) -> Terminal:
        command = [*GANTERM, "--preset", "mnist_mlp", "--run", "r", "--device", "cpu", *small]
        opened.append(Terminal([*command, *arguments], tmp_path, **options))
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()
