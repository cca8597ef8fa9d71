"""Live runs in processes of their own: attached to, left, killed, detached and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from ganterm import presets
from ganterm.cli import background, runs
from ganterm.core.snapshot import Pause
from ganterm.launch import Launch
from ganterm.rundir import find
from ganterm.session.address import Pointer, pointers
from ganterm.session.client import RemoteSession
from ganterm.session.local import LocalSession
from tests.conftest import TINY, Train
from tests.helpers.aged import age
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import GANTERM, TRAINER_FAILS, Terminal, assert_restored

SETS = [part for text in TINY for part in ("--set", text)]
TRAIN = ["--preset", "mnist_mlp", *SETS]


def ganterm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GANTERM, *words], cwd=folder, capture_output=True, text=True)


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_bytes().splitlines()
    return [event for line in lines if (event := msgspec.json.decode(line))["kind"] == kind]


def goes_on(run: Path, steps: int = 3) -> None:
    before = runs._newest_step(run)
    until(lambda: runs._newest_step(run) >= before + steps)


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    told = ganterm(folder, "runs", "--json").stdout.splitlines()
    return {run["name"]: run for run in map(msgspec.json.decode, told)}


def wait_for_detaches(run: Path, count: int) -> None:
    until(lambda: len(events(run, "detach")) == count)


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Processes that are killed when the test is over, whatever happened."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def pointed(name: str) -> Pointer:
    found = {Path(pointer.directory).name: pointer for pointer in until(pointers)}
    return found[name]


def detached(folder: Path, name: str, ended: list[int]) -> Pointer:
    """A run in the background."""
    done = ganterm(folder, *TRAIN, "--run", name, "--detach")
    assert done.returncode == 0, done.stderr
    pointer = pointed(name)
    ended.append(pointer.pid)
    assert f"process {pointer.pid}" in done.stderr
    assert f"ganterm attach {name}" in done.stderr and f"ganterm stop {name}" in done.stderr
    return pointer


def test_a_headless_run_is_attached_to_left_and_stopped(tmp_path: Path, ended: list[int]) -> None:
    run = tmp_path / "runs" / "a"
    host = subprocess.Popen(
        [*GANTERM, *TRAIN, "--run", "a", "--headless"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ended.append(host.pid)
    until(lambda: pointers() and runs._newest_step(run))
    assert listed(tmp_path)["a"]["state"] == "live"

    # The first thing that plain ganterm offers is the run that lives.
    terminal = Terminal(GANTERM, tmp_path, 120, 36)
    terminal.until(lambda t: "Live runs" in t.text and "Presets" in t.text)
    terminal.press("\r")
    terminal.until(lambda t: "attached" in t.text and "running" in t.text)
    terminal.press("K")
    (change,) = until(lambda: events(run, "change"))
    assert (change["key"], change["to"]) == ("k", 2) and "@" in change["by"]
    terminal.press("q")
    terminal.until(lambda t: "leave it training" in t.text)
    terminal.press("l")
    assert terminal.wait() == 0
    assert "goes on" in terminal.text
    terminal.close()
    goes_on(run)

    for gone, harm in enumerate((signal.SIGKILL, signal.SIGHUP), 2):
        terminal = Terminal([*GANTERM, "attach", "a", "--readonly"], tmp_path)
        terminal.until(lambda t: "read-only" in t.text)
        terminal.signal(harm)
        assert terminal.wait() != 0
        terminal.close()
        wait_for_detaches(run, gone)
        goes_on(run)
    assert [bool(event.get("lost")) for event in events(run, "detach")] == [False, True, False]
    assert [event["readonly"] for event in events(run, "attach")] == [False, True, True]

    done = ganterm(tmp_path, "stop", "a")
    assert done.returncode == 0 and "saved in" in done.stdout
    assert host.wait(DEADLINE) == 0
    state = listed(tmp_path)["a"]
    assert state["state"] == "stopped" and find.newest(run).step == state["step"]
    assert pointers() == []
    for command in ("stop", "attach"):
        again = ganterm(tmp_path, command, "a")
        assert again.returncode == 2 and "is not live: stopped at step" in again.stderr
        assert "to go on with it: ganterm resume a; see `ganterm runs`" in again.stderr
    missing = ganterm(tmp_path, "attach", "b")
    assert missing.returncode == 2 and "there is no run 'b'" in missing.stderr


def test_a_run_in_the_background(tmp_path: Path, ended: list[int]) -> None:
    pointer = detached(tmp_path, "night", ended)
    run, host = tmp_path / "runs" / "night", psutil.Process(pointer.pid)
    assert os.getsid(pointer.pid) == pointer.pid
    assert Path(f"/proc/{pointer.pid}/fd/0").readlink() == Path(os.devnull)
    assert Path(f"/proc/{pointer.pid}/fd/1").readlink() == (run / "host.log").resolve()
    host.send_signal(signal.SIGHUP)
    goes_on(run)
    assert [c for c in host.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []

    # A second one of that name, as a failing start.
    files = sorted(tmp_path.rglob("*"))
    failed = ganterm(tmp_path, *TRAIN, "--run", "night", "--detach")
    assert failed.returncode == 2 and "ganterm resume night" in failed.stderr
    assert {path.name for path in sorted(tmp_path.rglob("*"))} >= {path.name for path in files}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["night"]

    session = RemoteSession(pointer)
    session.start()
    host.send_signal(signal.SIGSTOP)
    host.send_signal(signal.SIGKILL)
    assert session.ended.wait(DEADLINE)
    assert session.link.state == "ended" and session.snapshot.state == "failed"
    assert "crashed" in session.snapshot.failure.message
    state = listed(tmp_path)["night"]
    assert state["state"] == "crashed" and state["step"] == runs._newest_step(run)
    assert pointers() == [] and not Path(pointer.socket).exists()
    columns = ganterm(tmp_path, "runs").stdout.splitlines()
    assert columns[0].split() == ["NAME", "STATE", "STEP", "PRESET", "BEGAN", "DIRECTORY"]
    assert columns[1].index("crashed") == columns[0].index("STATE")


def test_a_run_in_the_background_that_failed_goes_on_from_an_attached_dashboard(
    tmp_path: Path, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The host process, a Python of its own, takes the fault from its site's customisation.
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(
        f"import sys\nif 'ganterm.cli.host' in sys.orig_argv:\n    exec({TRAINER_FAILS!r})\n"
    )
    path = os.pathsep.join([str(tmp_path / "fault"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    first = detached(tmp_path, "a", ended)
    run = tmp_path / "runs" / "a"
    onlooker = Terminal([*GANTERM, "attach", "--readonly"], tmp_path, 120, 36)
    terminal = Terminal([*GANTERM, "attach"], tmp_path, 120, 36)
    terminal.until(lambda t: "attached" in t.text and "running" in t.text)
    onlooker.until(lambda t: "read-only" in t.text and "running" in t.text)
    terminal.press("w")
    until(lambda: events(run, "checkpoint"))
    (tmp_path / "now").touch()
    told = "RuntimeError: no batch to be had"
    terminal.until(lambda t: f"failed: {told}" in t.text and "R goes on" in t.text)
    onlooker.until(lambda t: f"failed: {told}" in t.text)
    assert "R goes on" not in onlooker.text
    (failed,) = events(run, "error")
    assert told in failed["message"]
    until(
        lambda: not psutil.pid_exists(first.pid) or psutil.Process(first.pid).status() == "zombie"
    )
    assert told in (run / "host.log").read_text()
    assert listed(tmp_path)["a"]["state"] == "failed"

    terminal.press("R")
    (resume,) = until(lambda: events(run, "resume"))
    second = pointed("a")
    ended.append(second.pid)
    assert second.pid != first.pid
    terminal.until(lambda t: "attached" in t.text and "running" in t.text)
    until(lambda: runs._newest_step(run) > failed["step"])
    assert resume["from_step"] <= failed["step"]
    terminal.press("K")
    (change,) = until(lambda: events(run, "change"))
    assert change["to"] == 2
    terminal.press("q")
    terminal.until(lambda t: "leave it training" in t.text)
    terminal.press("l")
    assert terminal.wait() == 0
    assert_restored(terminal)
    for seen in (terminal, onlooker):
        seen.close()
    assert ganterm(tmp_path, "stop", "a").returncode == 0


FAILING = """
import pathlib
from ganterm.dashboard.screens.cockpit import CockpitScreen
def fail(self, event):
    1 / (not pathlib.Path("fail").exists())
CockpitScreen.on_screen_resume = fail
from ganterm.cli.commands import main
main()
"""


def close_help(terminal: Terminal) -> None:
    """Have a handler fail, outside of all that looks after itself."""
    terminal.press("?")
    terminal.until(lambda t: "esc closes" in t.text)
    Path(f"/proc/{terminal.process.pid}/cwd/fail").touch()
    terminal.press("\x1b")


def press_in_turn(*keys: str) -> Callable[[Terminal], None]:
    def press(terminal: Terminal) -> None:
        for key in keys:
            terminal.press(key)
            if key != keys[-1]:
                terminal.until(lambda t: "leave it training" in t.text)

    return press


WAYS_OUT: dict[str, tuple[Callable[[Terminal], None], int]] = {
    "SIGTERM": (lambda t: t.signal(signal.SIGTERM), 143),
    "SIGINT": (lambda t: t.signal(signal.SIGINT), 130),
    "SIGHUP": (lambda t: t.signal(signal.SIGHUP), 129),
    "SIGUSR1": (lambda t: t.signal(signal.SIGUSR1), 138),
    "ctrl+c twice": (press_in_turn("\x03", "\x03"), 130),
    "q": (press_in_turn("q", "l"), 0),
    "an exception": (close_help, 1),
}


def test_every_way_out_of_an_attached_dashboard_restores_the_terminal(
    tmp_path: Path, live: LocalSession
) -> None:
    for way, (leave, code) in WAYS_OUT.items():
        command = [sys.executable, "-c", FAILING] if leave is close_help else GANTERM
        terminal = Terminal([*command, "attach"], tmp_path, 120, 36)
        terminal.until(lambda t: "attached" in t.text and "running" in t.text)
        leave(terminal)
        assert terminal.wait() == code, f"{way}: {terminal.text}"
        assert_restored(terminal)
        terminal.close()
        goes_on(tmp_path / "runs" / "run")
    assert not live.ended.is_set()


def test_two_dashboards_see_each_others_changes_and_when_the_trainer_is_silent(
    tmp_path: Path, ended: list[int]
) -> None:
    host = psutil.Process(detached(tmp_path, "a", ended).pid)
    run = tmp_path / "runs" / "a"
    both = [Terminal([*GANTERM, "attach", "a"], tmp_path, 120, 36) for _ in range(2)]

    def see(*words: str) -> None:
        for terminal in both:
            terminal.until(lambda t: all(word in t.text for word in words))

    see("attached", "running")
    for k, terminal in enumerate(both, 2):
        terminal.press("K")
        see(f"k    {k}")
    changes = events(run, "change")
    assert [(change["from"], change["to"]) for change in changes] == [(1, 2), (2, 3)]
    assert len({change["by"] for change in changes}) == 2

    host.send_signal(signal.SIGSTOP)
    see("no sign of life from the trainer")
    both[0].press("K")
    both[0].until(lambda t: "The trainer is silent" in t.text)
    silent = ganterm(tmp_path, "attach", "a")
    assert silent.returncode == 2
    host.send_signal(signal.SIGCONT)
    see("attached", "running")
    assert "no sign of life" not in both[0].text and len(events(run, "change")) == 2

    both[0].press(" ")
    see("paused")
    done = ganterm(tmp_path, "stop", "a")
    assert done.returncode == 0 and "a stopped at step" in done.stdout
    see("stopped")
    for terminal in both:
        terminal.press("q")
        assert terminal.wait() == 0
        assert_restored(terminal)
        terminal.close()


def test_foreign_things_among_runs_are_listed_as_what_they_are(
    tmp_path: Path, train: Train
) -> None:
    train(name="good")
    folder = tmp_path / "runs"
    about = (folder / "good" / "run.json").read_text()
    for name, content in {
        "garbage": "\x1b]0;x\x07{",
        "newer": about.replace('"format": 1', '"format": 9'),
        "killed": about.replace('"finished"', '"running"'),
        "list": "[1]",
    }.items():
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(content)
    (folder / "nothing").mkdir()
    (folder / "file").touch()
    (folder / "loop").symlink_to("loop")
    (folder / "dir" / "run.json").mkdir(parents=True)
    done = ganterm(tmp_path, "runs")
    assert done.returncode == 0 and "\x1b" not in done.stdout and done.stderr == ""
    states = {row.split()[0]: row.split()[1] for row in done.stdout.splitlines()[1:]}
    assert states == {
        "good": "finished",
        "killed": "crashed",
        **dict.fromkeys(("garbage", "newer", "list", "dir"), "unreadable"),
    }
    refused = ganterm(tmp_path, "attach", "good")
    assert "finished at step 5; to go on with it: ganterm resume good --steps 10" in refused.stderr


def test_a_start_that_fails_in_the_background_leaves_nothing(tmp_path: Path) -> None:
    done = ganterm(tmp_path, *TRAIN, "--device", "cuda:99", "--detach")
    assert done.returncode == 2 and "cuda" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dashboard_left_training_outlives_its_terminal(tmp_path: Path, ended: list[int]) -> None:
    terminal = Terminal([*GANTERM, *TRAIN, "--run", "a"], tmp_path)
    run = tmp_path / "runs" / "a"
    terminal.until(lambda _: pointers())
    terminal.press("q")
    terminal.until(lambda t: "leave it training" in t.text)
    terminal.press("l")
    assert terminal.wait(DEADLINE) == 0
    assert "ganterm stop a" in terminal.text
    ended.append(pointed("a").pid)
    terminal.hang_up()
    goes_on(run)
    done = ganterm(tmp_path, "stop", "a")
    assert done.returncode == 0, done.stderr
    until(lambda: not pointers())
    # The pointer goes before the host says its last line.
    until(lambda: "stopped at step" in (run / "host.log").read_text())
    assert [event["kind"] for event in events(run, "detach")] == ["detach"]


@pytest.mark.parametrize("words", [["attach"], ["runs"], ["stop", "a"]])
def test_torch_is_not_loaded(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['ganterm', *{words!r}]\n"
        "from ganterm.cli.commands import main\n"
        "import ganterm.session.client, ganterm.dashboard.app\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(int('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0


def test_a_launch_reaches_the_host_process_as_it_is(tmp_path: Path) -> None:
    for name in presets.names():
        known, preset = presets.load(name, ["lr_g=1.2345678901234567e-4"])
        launch = Launch(known, preset, "cpu", 7, tmp_path, tmp_path, "x", ("collapse",), ("a", "b"))
        assert Launch.from_json(launch.to_json()) == launch


@pytest.mark.parametrize("kills", ["yes", "no"])
@pytest.mark.parametrize("scope", ["session-3.scope", "user@1000.service/tmux.scope"])
def test_a_logout_that_would_kill_the_run_is_foreseen(
    kills: str, scope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logind = tmp_path / "loginctl"
    logind.write_text(f"#!/bin/sh\necho KillUserProcesses={kills}\n")
    logind.chmod(0o755)
    (tmp_path / "cgroup").write_text(f"0::/user.slice/user-1000.slice/{scope}\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(background, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert background.logout_kills() == (kills == "yes" and scope == "session-3.scope")


BRAILLE = [chr(code) for code in range(0x2801, 0x2900)]
OPENINGS = 7


def seconds_until_drawn(folder: Path, run: str) -> float:
    """From the start of `ganterm attach` until the charts' curves have been sent."""
    began = time.perf_counter()
    terminal = Terminal([*GANTERM, "attach", run], folder, 120, 36)
    while sum(map(terminal.raw.decode(errors="ignore").count, BRAILLE)) < 150:
        terminal.read_raw(0.02)
        assert time.perf_counter() - began < 60
    seconds = time.perf_counter() - began
    terminal.close()
    return seconds


@pytest.mark.slow
def test_a_million_steps_are_drawn_about_as_soon_as_a_thousand(
    tmp_path: Path, ended: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"short": 1_000, "long": 1_000_000}
    for name, step in names.items():
        assert (
            ganterm(tmp_path, *TRAIN, "--run", name, "--headless", "--steps", "20").returncode == 0
        )
        age(tmp_path / "runs" / name, step)
        done = ganterm(tmp_path, "resume", name, "--detach")
        assert done.returncode == 0, done.stderr
        ended.append(pointed(name).pid)
        session = RemoteSession(pointed(name))
        session.start()
        answer = session.answer(session.ask(Pause()), 60)
        assert answer is not None and not answer.refused
        session.close()
    taken = [[seconds_until_drawn(tmp_path, name) for name in names] for _ in range(OPENINGS)]
    short, long = np.median(taken, axis=0)
    with capsys.disabled():
        print(f"\nattached and drawn after {short:.2f} s (1,000 steps), {long:.2f} s (1,000,000)")
    assert long < 1.5 * short
