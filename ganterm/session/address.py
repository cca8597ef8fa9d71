"""Where a live run can be reached: a pointer and a socket in a folder that is ours alone. No torch.

The folder is ``ganterm/v1`` in the user's runtime directory, else one in the cache folder, else one
in /tmp; a place that others have a hand in is passed over, and ``warnings`` says so. A live run may
lose its folder (systemd takes the runtime directory away after the last logout), so whoever serves
looks after it and, where it is gone, makes another; whoever searches looks at all.
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
"""Bytes of a socket's path, less the NUL behind it (sun_path, unix(7))."""

SHARED = Path("/tmp")
"""The last place, as tmux has it; not TMPDIR, which differs between the shells of one user."""

OUT_OF_REACH = "no live run can be attached to"

_ID_LENGTH = 36
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
    """A folder for pointers: ``parts``, ours alone, below ``base``, which may hold other things.

    ``kind``: whose ``base`` must be. The user's own "runtime" folder is there or not; the "cache"
    folder is made where it is missing; in the "shared" one everybody may make folders of their own,
    as in /tmp, whose sticky bit leaves each in its maker's hands.
    """

    base: Path
    parts: tuple[str, ...]
    kind: Literal["runtime", "cache", "shared"]

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.base.joinpath(*self.parts)

    def trouble(self) -> str:
        """Why no run can be reached through the folder, in words; "" where one can, or could be
        once the folder is made."""
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
        """Have the folder; why no run can be reached through it, else ""."""
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
        found = self.base.stat()
        if not stat.S_ISDIR(found.st_mode):
            return f"{clean(self.base)} is not a directory"
        if found.st_uid != os.geteuid() and (self.kind == "runtime" or found.st_uid != 0):
            return f"{clean(self.base)} belongs to user {found.st_uid}"
        sticky = self.kind == "shared" and found.st_mode & stat.S_ISVTX
        if found.st_mode & stat.S_IWOTH and not sticky:
            return f"everybody can write to {clean(self.base)}"
        return ""

    def _missing_trouble(self, missing: Path) -> str:
        """Why a folder that is missing cannot be made, else ""."""
        if missing == self.base and self.kind != "cache":
            return f"there is no folder {clean(self.base)}"
        there = next((folder for folder in missing.parents if folder.exists()), Path("/"))
        if os.access(there, os.W_OK | os.X_OK):
            return ""
        return f"{clean(missing)} cannot be made: {clean(there)} cannot be written to"


def _trouble(folder: Path) -> str:
    """Why others could have a hand in a folder that should be ours alone, else ""."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{clean(folder)} is not a directory"
    if found.st_uid != os.geteuid():
        return f"{clean(folder)} belongs to user {found.st_uid}"
    if found.st_mode & 0o077:
        mode = f"mode {found.st_mode & 0o777:o} instead of 700"
        return f"others can enter {clean(folder)} ({mode})"
    return ""


def _in_words(path: Path, error: Exception) -> str:
    return f"{clean(path)}: {clean(getattr(error, 'strerror', None) or error)}"


def _candidates(make: bool = False) -> Iterator[tuple[Place | None, str]]:
    """Where pointers may be, best first, each with why it cannot be used, else "".

    With ``make`` each that can be used is there once it is yielded.
    """
    version, user = f"v{PROTOCOL}", os.geteuid()
    usable = Place.make if make else Place.trouble
    given, default = os.environ.get("XDG_RUNTIME_DIR", ""), Path(f"/run/user/{user}")
    trouble = ""
    if given:
        place = Place(Path(given), ("ganterm", version), "runtime")
        trouble = usable(place)
        yield place, f"XDG_RUNTIME_DIR: {trouble}" if trouble else ""
    # After `su` the variable may name another user's; nothing of ours belongs there.
    if (not given or trouble) and os.path.isdir(default):  # noqa: PTH112 - it raises nothing
        place = Place(default, ("ganterm", version), "runtime")
        yield place, usable(place)
    try:
        place = Place(cache_folder(), ("live", version), "cache")
        yield place, usable(place)
    except NoFolder as error:
        yield None, str(error)
    place = Place(SHARED, (f"ganterm-{user}", version), "shared")
    yield place, usable(place)


def places() -> list[Place]:
    """Where pointers may be, best first: those that nobody else has a hand in."""
    return [place for place, trouble in _candidates() if place is not None and not trouble]


def warnings(make: bool = False) -> list[str]:
    """What is not as it should be in the places for pointers, and what is used instead, a line.

    Nothing where the best place is good. With ``make``, a run is to be served: its place is made.
    """
    troubles: list[str] = []
    for place, trouble in _candidates(make):
        if place is not None and not trouble:
            return [f"{t}; live runs are reached through {clean(place.folder)}" for t in troubles]
        troubles.append(trouble)
    return [f"{OUT_OF_REACH}: {'; '.join(troubles)}"]


def pointers() -> list[Pointer]:
    """All pointers that there are, to live runs and to those whose process was killed."""
    found: dict[str, Pointer] = {}
    for place in places():
        try:
            paths = sorted(place.folder.iterdir())
        except OSError:
            continue
        for path in paths:
            pointer = _read(path) if path.suffix == ".json" else None
            if pointer is not None:
                found.setdefault(pointer.id, pointer)
    return list(found.values())


def _read(path: Path) -> Pointer | None:
    """The pointer in a file, None where it holds none, or one that leads elsewhere."""
    try:
        pointer = msgspec.json.decode(read_file(path, _MOST_BYTES), type=Pointer)
        usable = Path(pointer.directory).is_absolute() and "\0" not in pointer.directory
        return pointer if usable and pointer.file == path and path.stem == pointer.id else None
    except (OSError, ValueError, RecursionError):
        return None


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
        """Listen for the run with this id, in the first place that can be had.

        For the holder of the run's lock alone: what an earlier process left is replaced. UserError
        where no place can be had, saying why.
        """
        troubles: list[str] = []
        for place, trouble in _candidates(make=True):
            if place is None or trouble:
                troubles.append(trouble)
                continue
            try:
                return cls._in(place.folder, run, directory)
            except (OSError, ValueError) as error:
                # A path that is no UTF-8 text, say, stands in no pointer.
                troubles.append(_in_words(place.folder, error))
        raise UserError(f"{OUT_OF_REACH}: {'; '.join(troubles)}")

    @classmethod
    def _in(cls, folder: Path, run: str, directory: Path) -> Door:
        path = folder / f"{run}.sock"
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
        except BaseException:
            listener.close()
            raise
        return cls(pointer, listener)

    def found(self) -> bool:
        """Whether the pointer is still there for others."""
        try:
            there = stat.S_ISSOCK(os.lstat(self.pointer.socket).st_mode)
        except OSError:
            return False
        return there and _read(self.pointer.file) == self.pointer

    def close(self) -> None:
        """Listen no more, and leave nothing behind."""
        self.listener.close()
        if _read(self.pointer.file) == self.pointer:
            _removed(self.pointer)
