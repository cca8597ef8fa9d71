"""The lock of a run directory, which says which process writes into it.

``run.lock`` holds the writer's process number, and the writer holds a lock on the file. Only the
user may read the file, because everybody who can read a file can lock it. Where the file system
has no locks, a second line in the file names the writer's host and its start, and counts instead.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.system.files import Folder

NAME = "run.lock"
_LOCKS = Path("/proc/locks")
_TRIES = 5
"""Attempts to take a lock that somebody else holds only for an instant."""
_REST_SECONDS = 0.02
"""Seconds between two attempts."""
_MOST_BYTES = 512
"""Most bytes of run.lock that are read."""
_RECORD = re.compile(r"(\d{1,9})\nhost (\S{1,255}) since (\d{1,12}\.\d\d)\n")
_SAME_START_SECONDS = 30.0
"""Largest difference between two readings of one process's start. The start is counted from the
boot, whose time moves when the clock is set."""


class Holder(NamedTuple):
    """The process that writes into a run directory.

    Where the process is not visible from here, ``pid`` is the number in run.lock, and
    ``elsewhere`` says where the process may be.
    """

    pid: int
    elsewhere: str = ""

    def refusal(self, run: Path) -> UserError:
        """The error for another process that wants to write, with what to do."""
        name, lock = clean(run.name), clean(run / NAME)
        if self.elsewhere:
            return UserError(
                f"run '{name}' is live: process {self.pid} {self.elsewhere} is writing it, says "
                f"{lock}; if that one has ended, remove this file"
            )
        return UserError(
            f"run '{name}' is live: process {self.pid} is writing it; "
            "`ganterm attach` shows it, `ganterm stop` ends it"
        )


def holder(run: Path) -> Holder | None:
    """The process that writes into a run directory, None where there is none.

    A lock with an invisible holder counts as a writer. Where the lock cannot be checked at all,
    there is no writer.
    """
    path = run / NAME
    try:
        handle = _opened(path, os.O_RDONLY)
    except PermissionError:
        return _unread(path)
    except OSError:
        return None
    try:
        writer = _writer(handle)
        # A writer that has just ended is invisible too, so the lock is checked once more.
        return _writer(handle) if writer is not None and writer.elsewhere else writer
    finally:
        os.close(handle)


def _writer(handle: int) -> Holder | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _locker(handle) or _recorded(handle)
    except OSError:
        # The file system has no locks.
        pass
    return _recorded(handle)


def is_live(run: Path) -> bool:
    """Whether a process writes into the run directory, as far as this process can see."""
    return holder(run) is not None


@contextmanager
def free(run: Path, pid: int) -> Iterator[bool]:
    """Whether no process writes into the run directory; none can begin to within the context.

    Where the lock cannot be opened, the answer is whether process ``pid`` is gone.
    """
    try:
        handle = _opened(run / NAME, os.O_RDONLY)
    except OSError:
        yield not psutil.pid_exists(pid)
        return
    try:
        yield _writer(handle) is None
    finally:
        os.close(handle)


class RunLock:
    """The lock that the only writer of a run directory holds until it releases it or ends.

    UserError where another process holds it; OSError where the file cannot be made. An older
    ganterm left the file readable, so another user may hold a lock on it; that user is no writer,
    and the file is replaced. ``notice``: what was done instead of simply locking, else "".
    """

    def __init__(self, run: Path) -> None:
        self.notice = ""
        self._recorded = False
        self._handle = self._acquire(run)
        try:
            self._write()
        except BaseException:
            os.close(self._handle)
            raise
        if self._recorded:
            self._check_alone(run)

    def release(self) -> None:
        """Release the lock, so that another process can write."""
        if self._recorded:
            with suppress(OSError):
                os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def _acquire(self, run: Path) -> int:
        path = run / NAME
        for left in reversed(range(_TRIES)):
            handle = _opened(path, os.O_RDWR | os.O_CREAT)
            try:
                if self._take(run, handle, left):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        raise UserError(f"{clean(path)}: it is replaced again and again; by whom?")

    def _take(self, run: Path, handle: int, left: int) -> bool:
        """Whether the open file is locked by us now; UserError where a writer has it."""
        path = run / NAME
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            locker = _locker(handle)
            if locker is None:
                _set_aside(path, handle)
                self.notice = "another user held a lock on run.lock; the file was replaced"
            elif not left:
                raise locker.refusal(run) from None
            else:
                # A process that only checks whether the run is live holds the lock for an instant.
                time.sleep(_REST_SECONDS)
            return False
        except OSError as error:
            self._recorded = True
            self.notice = (
                f"the file system has no locks ({error.strerror}); run.lock says who writes this "
                "run, and two starts at the same moment may not see each other"
            )
        writer = _recorded(handle)
        if writer is not None:
            raise writer.refusal(run)
        return self._recorded or _is_at(path, handle)

    def _write(self) -> None:
        status = os.fstat(self._handle)
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
            # Some file systems have no modes.
            with suppress(OSError):
                os.fchmod(self._handle, 0o600)
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, self._content, 0)

    @property
    def _content(self) -> bytes:
        if not self._recorded:
            return f"{os.getpid()}\n".encode()
        since = psutil.Process().create_time()
        return f"{os.getpid()}\nhost {_host()} since {since:.2f}\n".encode()

    def _check_alone(self, run: Path) -> None:
        """UserError where another process has overwritten our record in the meantime."""
        time.sleep(_REST_SECONDS)
        if os.pread(self._handle, _MOST_BYTES, 0) != self._content:
            writer = _recorded(self._handle)
            os.close(self._handle)
            raise (writer or Holder(0, "that cannot be seen from here")).refusal(run)


def _opened(path: Path, flags: int) -> int:
    """A descriptor of a regular file; a missing one is made for this user alone."""
    with Folder.at(path.parent) as folder:
        return folder.open(path.name, flags, 0o600)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _set_aside(path: Path, handle: int) -> None:
    """Remove a file on which another user holds a lock, so that the lock no longer counts."""
    aside = path.with_name(f".{NAME}.{os.getpid()}.tmp")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if not _is_at(aside, handle):
        # Another process of this user was faster, and this is the file that it has locked.
        with suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()


def _locker(handle: int) -> Holder | None:
    """The process that holds the lock on an open file; None where only other users hold it.

    Only root and the owner of the file can be writers.
    """
    status = os.fstat(handle)
    lockers = _lockers(status)
    ours = [pid for pid in lockers or () if not _is_foreign(pid, status.st_uid)]
    if ours:
        return Holder(ours[0])
    if lockers:
        return None
    digits = re.match(rb"\d{1,9}", os.pread(handle, _MOST_BYTES, 0))
    written = int(digits[0]) if digits else 0
    if lockers is None and psutil.pid_exists(written):
        return Holder(written)
    return Holder(written, "of another machine or container")


def _unread(path: Path) -> Holder | None:
    """The process that holds the lock on a file that this user may not open."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return next(
        (Holder(p) for p in _lockers(status) or () if not _is_foreign(p, status.st_uid)), None
    )


def _lockers(file: os.stat_result) -> list[int] | None:
    """The visible processes that hold a lock on a file; None where the system has no list.

    A line of /proc/locks, proc_locks(5), is "1: FLOCK ADVISORY WRITE 4146 fe:00:131 0 EOF". A
    process that waits for a lock has "->" behind the number. A layered file system may have
    another device number there.
    """
    try:
        rows = [line.split() for line in _LOCKS.read_text().splitlines()]
    except OSError:
        return None
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    held = [row for row in rows if len(row) > 5 and row[1] in ("FLOCK", "POSIX", "OFDLCK")]
    held = [row for row in held if row[5].rpartition(":")[2] == str(file.st_ino)]
    exact = [row for row in held if row[5].rpartition(":")[0] == device]
    return [int(row[4]) for row in exact or held if row[4].isdigit() and int(row[4])]


def _is_foreign(pid: int, owner: int) -> bool:
    try:
        return psutil.Process(pid).uids().effective not in (0, os.geteuid(), owner)
    except psutil.Error:
        return False


def _recorded(handle: int) -> Holder | None:
    """The writer that the second line of the file names; None where it is missing or has ended."""
    record = _RECORD.fullmatch(os.pread(handle, _MOST_BYTES, 0).decode(errors="replace"))
    if record is None:
        return None
    pid, host, since = int(record[1]), record[2], float(record[3])
    if host != _host():
        return Holder(pid, f"on '{clean(host, 60)}'")
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - since) < _SAME_START_SECONDS
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (psutil.Error, ValueError, OverflowError):
        return None
    return Holder(pid) if same and not ended else None


def _host() -> str:
    return re.sub(r"\s", "_", socket.gethostname())[:255] or "?"
