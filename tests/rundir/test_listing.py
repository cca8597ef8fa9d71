"""The list of runs, whatever is wrong with one of them, and how commands name the run they mean."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from ganterm.cli import runs, train
from ganterm.core.errors import UserError
from ganterm.core.snapshot import Pause, SaveCheckpoint
from ganterm.launch import Launch
from ganterm.rundir import find
from ganterm.session import peers
from ganterm.session.address import Door, pointers
from ganterm.session.local import LocalSession
from ganterm.system.files import Folder
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import GANTERM

ID = "01234567-89ab-cdef-0123-456789abcdef"
SMALL = [part for override in TINY for part in ("--set", override)]
ABOUT = {
    "format": 1,
    "id": ID,
    "preset": "mnist_mlp",
    "device": "cpu",
    "state": "finished",
    "step": 7,
    "created": "2026-01-01T00:00:00+00:00",
    "data": {"name": "mnist10k", "sha256": "0"},
}


def ganterm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GANTERM, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
    )


def laid_out(folder: Path, name: str, **about: Any) -> Path:
    """A run directory that a list can be made of, and no more."""
    run = folder / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({**ABOUT, **about}))
    return run


def a_file(run: Path) -> None:
    (run / "run.json").write_text("")


def garbage(run: Path) -> None:
    (run / "run.json").write_bytes(os.urandom(100))


def deep(run: Path) -> None:
    (run / "run.json").write_text('{"format": 1, "id": ' + "[" * 100_000)


def not_utf8(run: Path) -> None:
    (run / "run.json").write_bytes(b'{"format": 1, "id": "\xff"}')


def a_surrogate(run: Path) -> None:
    (run / "run.json").write_text(json.dumps({**ABOUT, "preset": "\ud800"}))


def huge(run: Path) -> None:
    with (run / "run.json").open("ab") as file:
        file.truncate(1 << 40)


def a_folder(run: Path) -> None:
    (run / "run.json").unlink()
    (run / "run.json").mkdir()


def a_pipe(run: Path) -> None:
    (run / "run.json").unlink()
    os.mkfifo(run / "run.json")


def a_socket(run: Path) -> None:
    (run / "run.json").unlink()
    here = os.open(".", os.O_RDONLY)
    os.chdir(run)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("run.json")
    finally:
        os.fchdir(here)
        os.close(here)


def a_loop(run: Path) -> None:
    (run / "run.json").unlink()
    (run / "run.json").symlink_to("run.json")


def a_device(run: Path) -> None:
    (run / "run.json").unlink()
    (run / "run.json").symlink_to("/dev/zero")


BROKEN = [
    a_file,
    garbage,
    deep,
    not_utf8,
    a_surrogate,
    huge,
    a_folder,
    a_pipe,
    a_socket,
    a_loop,
    a_device,
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_run_that_is_broken_is_a_line_in_the_list(
    broken: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    laid_out(folder, "good")
    broken(laid_out(folder, "bad"))
    states = {run.name: run for run in runs.all_runs(folder)}
    assert states["good"].state == "finished" and states["good"].problem == ""
    assert states["bad"].state == "unreadable"
    assert "run.json" in states["bad"].problem and states["bad"].problem.isprintable()
    _, *rows = runs.lines(list(states.values()))
    (row,) = [row for row in rows if row.startswith("bad")]
    assert states["bad"].problem in row and len(rows) == 2
    tables = [json.loads(msgspec.json.encode(run.table())) for run in states.values()]
    assert {table["name"]: bool(table["problem"]) for table in tables} == {
        "good": False,
        "bad": True,
    }
    for name in ("bad", "bad "):
        with pytest.raises(UserError) as raised:
            runs.choose(name, folder)
        assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(UserError, match="did you mean 'good'"):
        find.find("godo", folder)
    assert find.find(ID[:6], folder) == folder / "good"
    assert find.find("goo", folder) == folder / "good"
    offered = [choice.name for choice in train._runs_to_choose(folder)]
    assert offered == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_run_that_the_file_system_does_not_show_is_a_line_in_the_list(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs"
    laid_out(folder, "good", state="stopped")
    bad = laid_out(folder, "bad")
    refused = OSError(number, os.strerror(number))
    lstat, read = Path.lstat, Folder.read

    def closed_lstat(path: Path) -> os.stat_result:
        if path.is_relative_to(bad) and path != bad:
            raise refused
        return lstat(path)

    def closed_read(folder: Folder, name: str, most: int, start: int = 0) -> bytes:
        if folder.path.is_relative_to(bad):
            raise refused
        return read(folder, name, most, start)

    monkeypatch.setattr(Path, "lstat", closed_lstat)
    monkeypatch.setattr(Folder, "read", closed_read)
    found = {run.name: run for run in runs.all_runs(folder)}
    assert found["bad"].state == "unreadable" and os.strerror(number) in found["bad"].problem
    assert found["good"].state == "stopped"
    with pytest.raises(UserError, match=os.strerror(number)):
        runs.choose("bad", folder)
    assert find.find("goo", folder).name == "good"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter any folder")
def test_a_closed_run_and_a_closed_folder_of_runs(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    laid_out(folder, "good")
    laid_out(folder, "bad").chmod(0)
    done = ganterm(tmp_path, "runs")
    assert done.returncode == 0 and "Permission denied" in done.stdout
    for command in ("attach", "stop", "resume"):
        refused = ganterm(tmp_path, command, "bad")
        assert refused.returncode == 2 and "Permission denied" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    (folder / "bad").chmod(0o700)
    folder.chmod(0)
    done = ganterm(tmp_path, "runs")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "--runs-dir runs: cannot be read: Permission denied" in done.stderr
    train = ["--preset", "mnist_mlp", "--headless", "--device", "cpu", "--steps", "1"]
    for name in ([], ["--run", "q"]):
        done = ganterm(tmp_path, *train, *name)
        assert done.returncode == 2 and "--runs-dir runs: cannot be written to" in done.stderr
    folder.chmod(0o700)


def test_a_folder_of_runs_that_cannot_be_read_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"--runs-dir .*: cannot be read: Input/output error"):
        runs.all_runs(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        find.find("x", tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 8, None])
def test_what_is_no_row_leads_to_no_step(content: bytes | None, tmp_path: Path) -> None:
    run = laid_out(tmp_path, "run", state="running", step=None)
    (run / "history").mkdir()
    if content is None:
        os.mkfifo(run / "history" / "step.i8")
    else:
        (run / "history" / "step.i8").write_bytes(content)
    (found,) = runs.all_runs(tmp_path)
    assert (found.state, found.step) == ("crashed", 0)


def test_a_pointer_to_what_is_no_run_is_a_line_too(tmp_path: Path) -> None:
    for n, directory in enumerate((tmp_path / "gone", tmp_path / ("x" * 300), tmp_path / "loop")):
        door = Door.open(f"{n}{ID[1:]}", tmp_path)
        door.pointer.file.write_bytes(
            msgspec.json.encode(
                {**msgspec.json.decode(door.pointer.file.read_bytes()), "directory": str(directory)}
            )
        )
    (tmp_path / "loop").symlink_to("loop")
    found = runs.all_runs(tmp_path)
    assert len(found) == 3 and {run.state for run in found} == {"unreadable"}
    assert len(list(runs.lines(found))) == 4


def test_a_run_is_meant_by_its_name_its_path_or_the_only_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    one = laid_out(folder, "mnist-1", id=ID)
    two = laid_out(folder, "mnist-2", id="f" + ID[1:])
    exact = laid_out(folder, "mnist", id="e" + ID[1:])
    assert find.find("mnist-1", folder) == one == find.find(ID[:4], folder)
    assert find.find(str(two), folder) == two == find.find("f" + ID[1:9], folder)
    assert find.find("mnist", folder) == exact, "a whole name goes before a beginning"
    for unclear in ("mnist-", "m"):
        with pytest.raises(UserError, match="which one"):
            find.find(unclear, folder)
    for nothing in ("", "x", ID[:3], "..", "/", "\0"):
        with pytest.raises(UserError):
            find.find(nothing, folder)


@pytest.fixture
def resting(launch: Callable[..., Launch]) -> Iterator[LocalSession]:
    """A live run that is paused, with a checkpoint."""
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3 and pointers())
    session.submit(Pause())
    session.submit(SaveCheckpoint())
    until(lambda: find.newest(Path(session.snapshot.info.directory)) is not None)
    yield session
    session.stop("the test is over")
    assert session.ended.wait(DEADLINE)


def test_a_live_run_is_not_resumed_but_said_to_live(resting: LocalSession, tmp_path: Path) -> None:
    run = Path(resting.snapshot.info.directory)
    (tmp_path / "elsewhere").mkdir()
    for folder, words in (
        (tmp_path, ["run", "--headless"]),
        (tmp_path, ["ru", "--detach"]),
        (tmp_path, ["run"]),
        (tmp_path / "elsewhere", ["run", "--headless"]),
        (tmp_path / "elsewhere", [resting.snapshot.info.id[:6], "--headless"]),
        (tmp_path / "elsewhere", [str(run), "--headless"]),
    ):
        done = ganterm(folder, "resume", *words)
        where, how = done.stderr.splitlines()
        assert done.returncode == 2 and done.stdout == ""
        assert where == f"ganterm: run 'run' is live, in {run} (process {os.getpid()})"
        assert how == "to watch and steer it: ganterm attach run"
    with pytest.raises(UserError, match="is live, in"):
        runs.at_rest("run", run.parent)
    (pointer,) = pointers()
    for called in (None, "run", "r", str(run), pointer.id[:4]):
        assert runs.choose(called, tmp_path / "elsewhere") == pointer


def test_a_process_is_called_what_it_is(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "600"])
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)
    assert "runs, but does not answer; `kill -TERM" in peers.silence(process.pid)
    process.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    assert f"`kill -CONT {process.pid}` continues it" in peers.silence(process.pid)
    assert peers.is_stopped(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert "has ended" in peers.silence(process.pid)
    process.wait()
    assert runs.how_to_reach(process.pid) == ("it has ended already; `ganterm runs` shows how",)
    assert "is gone" in peers.silence(process.pid) and not peers.is_stopped(process.pid)


def test_stop_says_in_which_state_a_process_is_that_does_not_obey(tmp_path: Path) -> None:
    host = subprocess.Popen(
        [*GANTERM, "--preset", "mnist_mlp", *SMALL, "--run", "a", "--headless", "--device", "cpu"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        run = tmp_path / "runs" / "a"
        until(lambda: pointers() and runs._newest_step(run))
        host.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(host.pid).status() == psutil.STATUS_STOPPED)
        done = ganterm(tmp_path, "stop", "a")
        assert done.returncode == 2 and f"process {host.pid} is stopped" in done.stderr
        assert f"kill -CONT {host.pid}" in done.stderr and len(done.stderr.splitlines()) == 1
        host.send_signal(signal.SIGCONT)
        done = ganterm(tmp_path, "stop")
        assert done.returncode == 0 and "a stopped at step" in done.stdout
        assert host.wait(DEADLINE) == 0
        again = ganterm(tmp_path, "stop", "a")
        assert again.returncode == 2 and "is not live: stopped at step" in again.stderr
        none = ganterm(tmp_path, "stop")
        assert none.returncode == 2 and "there is no live run" in none.stderr
    finally:
        host.kill()
        host.wait()
