"""Writing files so that a crash, a kill or a full disk never harms what is already there."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from pathlib import Path

_LEFT_OVER = re.compile(r"\..+\.\d+\.tmp")


def read_file(path: Path, most: int) -> bytes:
    """The content of a regular file; of one longer than ``most`` bytes, ``most`` and one more.

    OSError for whatever is no file: a pipe by a file's name would be waited at for ever.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside, fsync, rename, fsync the folder: the file is old or new, never torn."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def open_log(path: Path) -> int:
    """A descriptor that appends to a file, made where there is none.

    OSError for a link, which may lead anywhere, and for a pipe.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(path, flags, 0o644)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what was being written beside its place when its writer was killed."""
    for path in folder.iterdir():
        if _LEFT_OVER.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


class AppendOnly:
    """A log that only grows; a write that fails half-way is taken back. It is no link."""

    def __init__(self, path: Path) -> None:
        self._handle = open_log(path)
        self._size = os.fstat(self._handle).st_size

    def append(self, content: bytes) -> None:
        """Add ``content`` whole or not at all; OSError where the disk does not take it."""
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(content)

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
