"""The address of a live run: a pointer and a socket in a folder of this user alone. No torch.

The folder is ``ganterm/v1`` in the user's runtime directory, else one in the cache folder, else one
in /tmp. A place that other users can change is skipped, and ``warnings`` says so. A live run may
lose its folder: systemd deletes the runtime directory after the last logout. The server therefore
checks it and makes another one, and a watcher searches all places.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.rundir.jsonfile import RunId
from ganterm.rundir.lock import free
from ganterm.session.wire import PROTOCOL
from ganterm.system.files import read_file, write_atomically
from ganterm.system.folders import NoFolder, cache_folder

LONGEST_PATH = 103 if sys.platform == "darwin" else 107
"""Longest path of a socket, in bytes, without the NUL at its end (sun_path, unix(7))."""

SHARED = Path("/tmp")
"""The last place, as in tmux. TMPDIR may differ between the shells of one user."""

OUT_OF_REACH = "no live run can be attached to"
"""The message where no place is usable; the reasons follow."""

LAYOUT = "v1"
"""Folder of the pointers. It is the same for all protocols: a pointer names its run's protocol, so
that a watcher of another one can say why it does not attach."""

_ID_LENGTH = 36
"""Characters of a UUID, which names a pointer and a socket."""
_MOST_BYTES = 1 << 16
"""Largest pointer file that is read; a real one has a few hundred bytes."""


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The file that leads to a live run: its id, directory, socket, process and protocol."""

    id: RunId
    directory: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    socket: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_PATH)]
    pid: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    protocol: int

    @property
    def file(self) -> Path:
        """Its path, beside the socket."""
        return Path(self.socket).with_suffix(".json")


class Place(NamedTuple):
    """A folder for pointers: ``parts``, which are this user's alone, below ``base``.

    ``kind`` says what ``base`` is. A "runtime" folder belongs to the user and is never made. A
    "cache" folder is made where it is missing. A "shared" one is like /tmp: everybody may make
    folders in it, and its sticky bit keeps others from removing them.
    """

    base: Path
    parts: tuple[str, ...]
    kind: Literal["runtime", "cache", "shared"]

    @property
    def folder(self) -> Path:
        """The path of the folder."""
        return self.base.joinpath(*self.parts)

    def trouble(self) -> str:
        """Why no run can be reached through the folder; "" where it is usable or can be made."""
        if not self.base.is_absolute():
            return f"{clean(self.base)} is no absolute path"
        if len(os.fsencode(self.folder / f"{'x' * _ID_LENGTH}.sock")) > LONGEST_PATH:
            limit = f"{LONGEST_PATH} bytes at most"
            return f"{clean(self.base)} is too long a path for a socket ({limit})"
        try:
            return self._base_trouble() or next(filter(None, map(_trouble, self._folders)), "")
        except FileNotFoundError as error:
            return self._missing_trouble(Path(error.filename))
        except (OSError, ValueError) as error:
            return _in_words(self.base, error)

    def make(self) -> str:
        """Make the folder where it is missing; returns why it cannot be used, else ""."""
        trouble = self.trouble()
        if trouble:
            return trouble
        try:
            if self.kind == "cache":
                self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in self._folders:
                with suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
        except OSError as error:
            return _in_words(self.folder, error)
        return self.trouble()

    @property
    def _folders(self) -> list[Path]:
        return [self.base.joinpath(*self.parts[: n + 1]) for n in range(len(self.parts))]

    def _base_trouble(self) -> str:
        status = self.base.stat()
        if not stat.S_ISDIR(status.st_mode):
            return f"{clean(self.base)} is not a directory"
        if status.st_uid != os.geteuid() and (self.kind == "runtime" or status.st_uid != 0):
            return f"{clean(self.base)} belongs to user {status.st_uid}"
        sticky = self.kind == "shared" and status.st_mode & stat.S_ISVTX
        if status.st_mode & stat.S_IWOTH and not sticky:
            return f"everybody can write to {clean(self.base)}"
        return ""

    def _missing_trouble(self, missing: Path) -> str:
        """Why a folder that is missing cannot be made, else ""."""
        if missing == self.base and self.kind != "cache":
            return f"there is no folder {clean(self.base)}"
        parent = next((folder for folder in missing.parents if folder.exists()), Path("/"))
        if os.access(parent, os.W_OK | os.X_OK):
            return ""
        return f"{clean(missing)} cannot be made: {clean(parent)} cannot be written to"


def _trouble(folder: Path) -> str:
    """Why other users could change a folder that should be this user's alone, else ""."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return f"{clean(folder)} is not a directory"
    if status.st_uid != os.geteuid():
        return f"{clean(folder)} belongs to user {status.st_uid}"
    if status.st_mode & 0o077:
        mode = f"mode {status.st_mode & 0o777:o} instead of 700"
        return f"others can enter {clean(folder)} ({mode})"
    return ""


def _in_words(path: Path, error: Exception) -> str:
    return f"{clean(path)}: {clean(getattr(error, 'strerror', None) or error)}"


def _candidates(make: bool = False) -> Iterator[tuple[Place | None, str]]:
    """The places for pointers, best first, each with why it cannot be used, else "".

    ``make``: make each usable one before it is yielded.
    """
    user = os.geteuid()
    usable = Place.make if make else Place.trouble
    variable, default = os.environ.get("XDG_RUNTIME_DIR", ""), Path(f"/run/user/{user}")
    trouble = ""
    if variable:
        place = Place(Path(variable), ("ganterm", LAYOUT), "runtime")
        trouble = usable(place)
        yield place, f"XDG_RUNTIME_DIR: {trouble}" if trouble else ""
    # After `su` the variable may name another user's folder, which is no place for a pointer.
    if (not variable or trouble) and os.path.isdir(default):  # noqa: PTH112 - Path.is_dir may raise
        place = Place(default, ("ganterm", LAYOUT), "runtime")
        yield place, usable(place)
    try:
        place = Place(cache_folder(), ("live", LAYOUT), "cache")
        yield place, usable(place)
    except NoFolder as error:
        yield None, str(error)
    place = Place(SHARED, (f"ganterm-{user}", LAYOUT), "shared")
    yield place, usable(place)


def places() -> list[Place]:
    """The usable places for pointers, best first."""
    return [place for place, trouble in _candidates() if place is not None and not trouble]


def warnings(make: bool = False) -> list[str]:
    """What is wrong with the places for pointers, and which one is used instead, a line each.

    Empty where the best place is usable. ``make``: make the place, for a run that will be served.
    """
    troubles: list[str] = []
    for place, trouble in _candidates(make):
        if place is not None and not trouble:
            return [f"{t}; live runs are reached through {clean(place.folder)}" for t in troubles]
        troubles.append(trouble)
    return [f"{OUT_OF_REACH}: {'; '.join(troubles)}"]


def pointers() -> list[Pointer]:
    """All pointers, to live runs and to those whose process was killed."""
    by_id: dict[str, Pointer] = {}
    for place in places():
        try:
            paths = sorted(place.folder.iterdir())
        except OSError:
            continue
        for path in paths:
            pointer = _read(path) if path.suffix == ".json" else None
            if pointer is not None:
                by_id.setdefault(pointer.id, pointer)
    return list(by_id.values())


def _read(path: Path) -> Pointer | None:
    """The pointer in a file, None where there is none or it does not belong to this file."""
    try:
        pointer = msgspec.json.decode(read_file(path, _MOST_BYTES), type=Pointer)
        usable = Path(pointer.directory).is_absolute() and "\0" not in pointer.directory
        return pointer if usable and pointer.file == path and path.stem == pointer.id else None
    except (OSError, ValueError, RecursionError):
        return None


def connect_to(pointer: Pointer, seconds: float = 5.0) -> socket.socket:
    """A connection to the run's process; OSError where nobody listens any more."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    end = time.monotonic() + seconds
    try:
        while True:
            try:
                connection.connect(pointer.socket)
                return connection
            except BlockingIOError:
                # Too many connections wait to be accepted.
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
    except OSError:
        connection.close()
        raise


def sweep(pointer: Pointer) -> bool:
    """Remove a pointer to a run that is dead; whether it was removed.

    A run is dead where nobody listens and nobody holds its lock. Where its directory is gone as
    well, its process must have ended.
    """
    try:
        connect_to(pointer, 1.0).close()
        return False
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
            return False
    with free(Path(pointer.directory), pointer.pid) as nobody:
        return nobody and _removed(pointer)


def _removed(pointer: Pointer) -> bool:
    try:
        for path in (pointer.file, Path(pointer.socket)):
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Door:
    """The socket that a run's process listens at, and the pointer to it."""

    pointer: Pointer
    listener: socket.socket

    @classmethod
    def open(cls, run: str, directory: Path) -> Door:
        """Listen for watchers of the run with this id, in the first usable place.

        Only for the holder of the run's lock: it replaces what an earlier process left. UserError
        where no place is usable, with the reasons.
        """
        troubles: list[str] = []
        for place, trouble in _candidates(make=True):
            if place is None or trouble:
                troubles.append(trouble)
                continue
            try:
                return cls._in(place.folder, run, directory)
            except (OSError, ValueError) as error:
                # For example a path that is no UTF-8 text cannot be written to a pointer.
                troubles.append(_in_words(place.folder, error))
        raise UserError(f"{OUT_OF_REACH}: {'; '.join(troubles)}")

    @classmethod
    def _in(cls, folder: Path, run: str, directory: Path) -> Door:
        path = folder / f"{run}.sock"
        # Converted, because the constructor of a Struct checks nothing, and the id names files.
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
        temporary = folder / f".{run[:8]}.{os.getpid()}.tmp"
        try:
            # Renamed once it listens, so that a refused connection always means a dead process.
            temporary.unlink(missing_ok=True)
            listener.bind(str(temporary))
            temporary.chmod(0o600)
            listener.listen(16)
            listener.setblocking(False)
            temporary.rename(path)
            write_atomically(pointer.file, msgspec.json.encode(pointer))
        except BaseException:
            listener.close()
            raise
        return cls(pointer, listener)

    def is_reachable(self) -> bool:
        """Whether the socket and the pointer still exist."""
        try:
            exists = stat.S_ISSOCK(os.lstat(self.pointer.socket).st_mode)
        except OSError:
            return False
        return exists and _read(self.pointer.file) == self.pointer

    def close(self) -> None:
        """Stop listening, and remove the socket and the pointer."""
        self.listener.close()
        if _read(self.pointer.file) == self.pointer:
            _removed(self.pointer)
