"""Where a live run can be reached: a pointer and a socket in a folder that is ours alone. No torch.

The folder is ``ganterm/v1`` in the user's runtime directory, or one in the cache folder where there
is none. A live run may lose it (systemd takes the runtime directory away after the last logout), so
whoever serves looks after it and, where it is gone, makes another; whoever searches looks at all.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import psutil
from platformdirs import user_cache_path

from ganterm.errors import UserError
from ganterm.files import read_file, write_atomically
from ganterm.session.jsonfile import RunId
from ganterm.session.wire import PROTOCOL
from ganterm.text import clean

LONGEST_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes of a socket's path, less the NUL behind it (sun_path, unix(7))."""

_MOST_BYTES = 1 << 16


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What leads to a live run: its id, its directory, and the process that trains it."""

    id: RunId
    directory: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    socket: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_PATH)]
    pid: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    protocol: int

    @property
    def file(self) -> Path:
        """Where it is written."""
        return Path(self.socket).with_suffix(".json")


class Place(NamedTuple):
    """A folder for pointers: ``parts``, ours alone, below ``base``, which may hold other things."""

    base: Path
    parts: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.base.joinpath(*self.parts)

    def check(self) -> None:
        """UserError where others could have a hand in the folder; OSError where it is missing."""
        if self.base.stat().st_mode & stat.S_IWOTH:
            raise _unsafe(self.base, "everybody can write to it")
        for folder in self._folders:
            _check(folder)

    def make(self) -> None:
        """Have the folder, checked."""
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in self._folders:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            _check(folder)
        self.check()

    @property
    def _folders(self) -> list[Path]:
        return [self.base.joinpath(*self.parts[: n + 1]) for n in range(len(self.parts))]


def _check(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _unsafe(folder, "it is not a directory")
    if found.st_uid != os.geteuid():
        raise _unsafe(folder, f"it belongs to user {found.st_uid}")
    if found.st_mode & 0o077:
        raise _unsafe(folder, f"others can enter it (mode {found.st_mode & 0o777:o})")


def _unsafe(folder: Path, why: str) -> UserError:
    return UserError(
        f"{clean(folder)} is not safe for reaching live runs: {why}; "
        "it must be a directory of yours with mode 700"
    )


def places() -> list[Place]:
    """Where pointers may be, best first."""
    version, user = f"v{PROTOCOL}", os.geteuid()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    found = [Place(user_cache_path("ganterm"), ("live", version))]
    with suppress(OSError):
        # After `su` the variable may name another user's; nothing of ours belongs there.
        if runtime.is_absolute() and runtime.stat().st_uid == user:
            found.insert(0, Place(runtime, ("ganterm", version)))
    return found


def pointers() -> list[Pointer]:
    """All pointers that there are, to live runs and to those whose process was killed."""
    found: dict[str, Pointer] = {}
    for place in places():
        try:
            place.check()
            paths = sorted(place.folder.glob("*.json"))
        except OSError:
            continue
        for path in paths:
            pointer = _read(path)
            if pointer is not None:
                found.setdefault(pointer.id, pointer)
    return list(found.values())


def _read(path: Path) -> Pointer | None:
    """The pointer in a file, None where it holds none, or one that leads elsewhere."""
    try:
        pointer = msgspec.json.decode(read_file(path, _MOST_BYTES), type=Pointer)
    except (OSError, ValueError, RecursionError):
        return None
    return pointer if pointer.file == path and path.stem == pointer.id else None


def connected(pointer: Pointer, seconds: float = 5.0) -> socket.socket:
    """A connection to the run's process; OSError where nobody listens there any more."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    end = time.monotonic() + seconds
    try:
        while True:
            try:
                connection.connect(pointer.socket)
                return connection
            except BlockingIOError:
                # A queue stands before the door.
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
    except OSError:
        connection.close()
        raise


def sweep(pointer: Pointer) -> bool:
    """Remove a pointer that leads nowhere; whether it is gone.

    Only where nobody answers and nobody holds the run's lock; where the run's directory is gone
    too, where its process is.
    """
    try:
        connected(pointer, 1.0).close()
        return False
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
            return False
    with _as_owner(pointer) as owner:
        if owner:
            for path in (pointer.file, Path(pointer.socket)):
                path.unlink(missing_ok=True)
        return owner


@contextmanager
def _as_owner(pointer: Pointer) -> Iterator[bool]:
    """Whether this process may, for the moment, speak for the run."""
    try:
        lock = Path(pointer.directory) / "run.lock"
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield not psutil.pid_exists(pointer.pid)
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Door:
    """The socket that a run's process listens at, and the pointer to it."""

    pointer: Pointer
    listener: socket.socket

    @classmethod
    def open(cls, run: str, directory: Path) -> Door:
        """Listen for the run with this id, in the first place that can be had.

        For the holder of the run's lock alone: what an earlier process left is replaced. UserError
        where a place is not safe, or none can be had.
        """
        trouble = "no folder"
        for place in places():
            try:
                place.make()
                return cls._in(place.folder, run, directory)
            except OSError as error:
                trouble = f"{place.folder}: {error.strerror}"
        raise UserError(f"no place to be reached at: {clean(trouble)}")

    @classmethod
    def _in(cls, folder: Path, run: str, directory: Path) -> Door:
        path = folder / f"{run}.sock"
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise UserError(
                f"{clean(folder)}: too long a path for a socket ({LONGEST_PATH} bytes at most); "
                "set XDG_RUNTIME_DIR to a shorter one"
            )
        # Converted, for a Struct that is made checks nothing, and the id names files.
        pointer = msgspec.convert(
            {
                "id": run,
                "directory": str(directory.resolve()),
                "socket": str(path),
                "pid": os.getpid(),
                "protocol": PROTOCOL,
            },
            Pointer,
        )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        beside = folder / f".{run[:8]}.{os.getpid()}.tmp"
        try:
            # Renamed once it listens, so that a refused connection means that nobody is there.
            beside.unlink(missing_ok=True)
            listener.bind(str(beside))
            beside.chmod(0o600)
            listener.listen(16)
            listener.setblocking(False)
            beside.rename(path)
            write_atomically(pointer.file, msgspec.json.encode(pointer))
        except OSError:
            listener.close()
            raise
        return cls(pointer, listener)

    def found(self) -> bool:
        """Whether the pointer is still there for others."""
        return _read(self.pointer.file) == self.pointer and Path(self.pointer.socket).is_socket()

    def close(self) -> None:
        """Listen no more, and leave nothing behind."""
        self.listener.close()
        if _read(self.pointer.file) == self.pointer:
            self.pointer.file.unlink(missing_ok=True)
            Path(self.pointer.socket).unlink(missing_ok=True)
