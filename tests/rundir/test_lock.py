"""Who writes into a run directory: by a lock, past another user's, or by a record without one."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ganterm.core.errors import UserError
from ganterm.core.events import NoteEvent
from ganterm.launch import Launch
from ganterm.rundir import lock
from ganterm.rundir.lock import Holder, RunLock, holder, is_live
from ganterm.session.local import LocalSession
from tests.helpers.deadlines import DEADLINE

needs_proc = pytest.mark.skipif(
    not lock._LOCKS.exists(), reason="this system does not tell who holds a lock"
)
LOCKS_A_FILE = """
import fcntl, os, sys
file = open(sys.argv[1])
os.setuid(int(sys.argv[2]))
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(file: Path, user: int = -1) -> Iterator[int]:
    """A process, of another user's where one is given, that has opened a file and locked it."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKS_A_FILE, str(file), str(os.geteuid() if user < 0 else user)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"locked\n"
        yield process.pid
        process.stdin.close()


def has_no_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    def refuse(handle: int, flags: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_one_process_writes_and_others_see_which(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    first = RunLock(tmp_path)
    assert first.notice == ""
    assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE((tmp_path / "run.lock").stat().st_mode) == 0o600
    assert holder(tmp_path) == Holder(os.getpid())
    with pytest.raises(UserError, match=f"is live: process {os.getpid()} is writing it"):
        RunLock(tmp_path)
    first.release()
    assert holder(tmp_path) is None
    RunLock(tmp_path).release()


def test_a_lock_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("1\n")
    (tmp_path / "run.lock").chmod(0o644)
    RunLock(tmp_path).release()
    assert stat.S_IMODE((tmp_path / "run.lock").stat().st_mode) == 0o600


@needs_proc
def test_another_users_lock_is_no_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.lock"
    file.write_text(f"{os.getppid()}\n")
    with locked_by_another_process(file) as pid:
        assert holder(tmp_path) == Holder(pid), "one of ours may train it"
        monkeypatch.setattr(lock, "_is_foreign", lambda locker, owner: locker == pid)
        assert not is_live(tmp_path)
        with lock.free(tmp_path, os.getpid()) as free:
            assert free
        ours = RunLock(tmp_path)
        assert "another user" in ours.notice
        assert holder(tmp_path) == Holder(os.getpid())
        with pytest.raises(UserError, match="is live"):
            RunLock(tmp_path)
        ours.release()
        assert holder(tmp_path) is None
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


@needs_proc
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user's")
def test_a_user_who_can_read_an_old_lock_file_holds_nothing_up(tmp_path: Path) -> None:
    file = tmp_path / "run.lock"
    file.write_text("1\n")
    with locked_by_another_process(file, user=65_534) as pid:
        assert psutil.Process(pid).uids().effective == 65_534
        assert not is_live(tmp_path)
        RunLock(tmp_path).release()


def test_a_holder_that_cannot_be_seen_counts_and_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.lock"
    file.write_text("7\n")
    monkeypatch.setattr(lock, "_lockers", lambda file: [])
    with locked_by_another_process(file):
        found = holder(tmp_path)
        assert found is not None and found.pid == 7 and "container" in found.elsewhere
        with pytest.raises(UserError, match="remove this file"):
            RunLock(tmp_path)


def test_without_proc_the_number_in_the_file_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_LOCKS", tmp_path / "none")
    ours = RunLock(tmp_path)
    assert holder(tmp_path) == Holder(os.getpid())
    ours.release()


def test_who_holds_a_lock_is_read_from_the_kernels_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    found = file.stat()
    exact = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    other = f"ff:ee:{found.st_ino}"
    table = tmp_path / "locks"
    monkeypatch.setattr(lock, "_LOCKS", table)
    table.write_text(
        f"1: FLOCK  ADVISORY  WRITE 11 {other} 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 12 {exact} 0 EOF\n"
        f"2: -> FLOCK  ADVISORY  WRITE 13 {exact} 0 EOF\n"
        f"3: FLOCK  ADVISORY  WRITE 14 {exact}0 0 EOF\n"
        "4: LEASE  ACTIVE    READ  15\n\n?"
    )
    assert lock._lockers(found) == [12]
    table.write_text(f"1: FLOCK  ADVISORY  WRITE 11 {other} 0 EOF\n")
    assert lock._lockers(found) == [11], "a layered file system has two names for a device"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_without_locks_a_record_tells_who_writes(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_no_locks(monkeypatch, number)
    assert holder(tmp_path) is None
    first = RunLock(tmp_path)
    assert "no locks" in first.notice and os.strerror(number) in first.notice
    assert (tmp_path / "run.lock").read_text().splitlines()[0] == str(os.getpid())
    assert holder(tmp_path) == Holder(os.getpid())
    with pytest.raises(UserError, match="is live"):
        RunLock(tmp_path)
    with lock.free(tmp_path, os.getpid()) as free:
        assert not free
    first.release()
    assert holder(tmp_path) is None
    RunLock(tmp_path).release()


def test_a_record_is_seen_where_locks_work_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        has_no_locks(without)
        first = RunLock(tmp_path)
    assert holder(tmp_path) == Holder(os.getpid())
    with pytest.raises(UserError, match="is live"):
        RunLock(tmp_path)
    first.release()


def ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def since(pid: int) -> float:
    return psutil.Process(pid).create_time()


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_a_record_of_a_process_that_has_ended_is_none(
    locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not locks:
        has_no_locks(monkeypatch)
    file = tmp_path / "run.lock"
    began, host = since(os.getpid()), lock._host()
    for content in (
        f"{ended()}\nhost {host} since {began:.2f}\n",
        f"{os.getpid()}\nhost {host} since {began - 3600:.2f}\n",
        f"{os.getpid()}\n",
        "",
        "garbage\n" * 99,
        f"{10**9 - 1}\nhost {host} since 1.00\n",
        f"{os.getpid()}\nhost {host} since {began:.2f}\n and more",
    ):
        file.write_text(content)
        assert holder(tmp_path) is None, content
        RunLock(tmp_path).release()
    file.write_text(f"12\nhost another.example since {began:.2f}\n")
    found = holder(tmp_path)
    assert found == Holder(12, "on 'another.example'")
    with pytest.raises(UserError, match=r"another\.example.*remove this file"):
        RunLock(tmp_path)


def test_a_process_that_has_ended_but_is_still_listed_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_no_locks(monkeypatch)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    file = tmp_path / "run.lock"
    file.write_text(f"{process.pid}\nhost {lock._host()} since {since(process.pid):.2f}\n")
    assert holder(tmp_path) == Holder(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert holder(tmp_path) is None
    process.wait()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_lock_file_is_no_writer(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "run.lock"
    {"folder": file.mkdir, "pipe": lambda: os.mkfifo(file), "link": lambda: file.symlink_to("x")}[
        kind
    ]()
    assert holder(tmp_path) is None
    with pytest.raises(OSError):
        RunLock(tmp_path)
    assert not (tmp_path / "x").exists()


def test_a_run_trains_without_locks_and_says_so(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_no_locks(monkeypatch)
    session = LocalSession(launch(steps=3))
    session.start()
    assert session.ended.wait(DEADLINE) and session.snapshot.state == "finished"
    (note,) = [event for event in session.events() if isinstance(event, NoteEvent)]
    assert "no locks" in note.text
    assert not is_live(Path(session.snapshot.info.directory))
