"""Files that survive a crash, a kill and a full disk, and that are safe in a stranger's folder.

A ``Folder`` is held by a descriptor. Its files are opened by name relative to it, and never through
a link, which may lead anywhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Self

MOST_ENTRIES = 100_000
"""Most entries of a folder that are read; a run of months has about as many pictures."""
_BLOCK = 1 << 20
"""Bytes read at a time."""
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems that cannot fsync folders, as some over FUSE and NFS."""
_NAMED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags for every open by name: follow no link, and do not wait for a pipe."""


class Folder:
    """An open folder, which stays the same one when it is moved; ``path`` is its first place.

    Its methods raise OSError, with the path and the reason, for a name that is missing, is a link,
    or is not of the expected kind. A pipe in place of a file would block for ever.
    """

    def __init__(self, handle: int, path: Path) -> None:
        self.handle = handle
        self.path = path

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Open the folder at ``path``, which itself may be reached through links."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor."""
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)

    @property
    def gone(self) -> bool:
        """Whether it was deleted, or its file system was removed."""
        try:
            return os.fstat(self.handle).st_nlink == 0
        except OSError:
            return True

    def place(self) -> Path:
        """Its present path, where the system can tell; otherwise ``path``."""
        with suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self.handle)):
                return self.path
        with suppress(OSError):
            if sys.platform == "darwin":
                path = fcntl.fcntl(self.handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")
                return Path(os.fsdecode(path))
            moved = Path(f"/proc/self/fd/{self.handle}").readlink()
            if os.path.samestat(moved.stat(), os.fstat(self.handle)):
                return moved
        return self.path

    def folder(self, name: str, make: bool = False) -> Folder:
        """Open the folder ``name`` in this one; ``make`` makes it where it is missing."""
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=self.handle)
        flags = os.O_RDONLY | os.O_DIRECTORY | _NAMED
        try:
            return Folder(os.open(name, flags, dir_fd=self.handle), self.path / name)
        except OSError as error:
            raise self._problem(name, error, stat.S_ISDIR, "folder") from None

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        """Open the file ``name``; returns its descriptor. ``mode`` is for a new file."""
        try:
            handle = os.open(name, flags | _NAMED, mode, dir_fd=self.handle)
        except OSError as error:
            raise self._problem(name, error, stat.S_ISREG, "file") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise self._problem(name, OSError(errno.EINVAL, "?"), stat.S_ISREG, "file")
        return handle

    def size(self, name: str) -> int:
        """The size of the file ``name``, in bytes."""
        handle = self.open(name)
        try:
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def read(self, name: str, most: int, start: int = 0) -> bytes:
        """Read the file ``name`` from byte ``start`` on, at most ``most`` bytes and one more.

        The one more shows the caller that the file is too long.
        """
        with os.fdopen(self.open(name), "rb") as file:
            file.seek(start)
            return file.read(most + 1)

    def lines(self, name: str, longest: int, start: int = 0) -> Iterator[bytes]:
        """The lines of the file ``name`` from byte ``start`` on, without their line feeds.

        A line of more than ``longest`` bytes is left out.
        """
        with os.fdopen(self.open(name), "rb") as file:
            file.seek(start)
            rest, too_long = b"", False
            while block := file.read(_BLOCK):
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    if not too_long and len(line) <= longest:
                        yield line
                    too_long = False
                if len(rest) > longest:
                    rest, too_long = b"", True
            if not too_long:
                yield rest

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """The entries of the folder, in no order; OSError after ``MOST_ENTRIES``."""
        with os.scandir(self.handle) as entries:
            for number, entry in enumerate(entries):
                if number == MOST_ENTRIES:
                    words = f"it has more than {MOST_ENTRIES:,} entries"
                    raise OSError(errno.E2BIG, words, str(self.path))
                yield entry

    def has(self, name: str) -> bool:
        """Whether there is an entry ``name`` of any kind."""
        try:
            os.lstat(name, dir_fd=self.handle)
        except FileNotFoundError:
            return False
        return True

    def write_atomically(self, name: str, content: bytes) -> None:
        """Write a temporary file, fsync, rename, fsync the folder: the file is never torn."""
        temporary = f".{name}.{os.getpid()}.tmp"
        # Such a file is left over from a killed process with the same number.
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self.handle)
        try:
            handle = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            self.rename(temporary, name)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self.handle)
            raise
        self.sync()

    def rename(self, name: str, to: str) -> None:
        """Rename an entry. A file at the new name is replaced; a folder is not."""
        try:
            os.rename(name, to, src_dir_fd=self.handle, dst_dir_fd=self.handle)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / to)) from None

    def remove(self, name: str) -> None:
        """Remove the file or link ``name``."""
        os.unlink(name, dir_fd=self.handle)

    def remove_tree(self, name: str) -> None:
        """Remove the folder ``name`` and all its entries, without following links."""
        shutil.rmtree(name, dir_fd=self.handle)

    def sync(self) -> None:
        """Make renames in the folder survive a power cut, where the file system can."""
        try:
            os.fsync(self.handle)
        except OSError as error:
            if error.errno not in _UNSYNCED:
                raise

    def sweep(self, names: re.Pattern[str], folders: bool = False) -> None:
        """Remove temporary files, or ``folders``, that a killed writer has left.

        ``names`` matches the final names of what is written so. All else stays, and so do entries
        after the first ``MOST_ENTRIES``.
        """
        left_over = re.compile(rf"\.(?:{names.pattern})\.[1-9][0-9]{{0,9}}\.tmp")
        with os.scandir(self.handle) as entries:
            torn = [e for e in islice(entries, MOST_ENTRIES) if left_over.fullmatch(e.name)]
        for entry in torn:
            if folders and entry.is_dir(follow_symlinks=False):
                self.remove_tree(entry.name)
            elif not folders and entry.is_file(follow_symlinks=False):
                self.remove(entry.name)

    def _problem(
        self, name: str, error: OSError, right: Callable[[int], bool], kind: str
    ) -> OSError:
        """``error``, in words for what ``name`` is where it is not of the expected ``kind``."""
        number, words = error.errno or errno.EIO, error.strerror
        with suppress(OSError):
            mode = os.lstat(name, dir_fd=self.handle).st_mode
            if stat.S_ISLNK(mode):
                number = errno.ELOOP
                words = "a link to another place; ganterm follows none inside a run directory"
            elif not right(mode):
                words = f"{_what_it_is(mode)}, not a {kind}"
        return OSError(number, words, str(self.path / name))


def _what_it_is(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def in_words(error: OSError) -> str:
    """The error in one line, with the file where it is known."""
    what = error.strerror or type(error).__name__
    return f"{error.filename}: {what}" if error.filename else what


def read_file(path: Path, most: int) -> bytes:
    """The content of a regular file, at most ``most`` bytes and one more.

    The file may be reached through links. OSError where it is not a regular file: a pipe would
    block for ever.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"{_what_it_is(mode)}, not a file", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as ``Folder.write_atomically`` does."""
    with Folder.at(path.parent) as folder:
        folder.write_atomically(path.name, content)


def open_log(path: Path) -> int:
    """A descriptor that appends to a file, which is made where it is missing.

    OSError for a link, which may lead anywhere, and for a pipe.
    """
    with Folder.at(path.parent) as folder:
        return folder.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class AppendOnly:
    """A log that only grows; a write that fails half-way is undone."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._name = name
        self._handle = folder.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def append(self, content: bytes) -> None:
        """Append ``content`` whole or not at all; OSError where the disk refuses it."""
        # Asked each time: somebody may have emptied the file to gain room.
        size = os.fstat(self._handle).st_size
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            os.ftruncate(self._handle, size)
            raise

    @property
    def gone(self) -> bool:
        """Whether the file was deleted."""
        return os.fstat(self._handle).st_nlink == 0

    def move(self, folder: Folder, head: bytes | None = None) -> None:
        """Continue in a new file of the same name in ``folder``; a file there is replaced.

        The new file begins with all content so far, even of a deleted file, or with ``head``
        alone. OSError where the disk refuses it; then nothing changes here.
        """
        with suppress(FileNotFoundError):
            folder.remove(self._name)
        new = AppendOnly(folder, self._name)
        try:
            if head is not None:
                new.append(head)
            at = 0
            while head is None and (block := os.pread(self._handle, _BLOCK, at)):
                new.append(block)
                at += len(block)
        except OSError:
            folder.remove(self._name)
            new.close()
            raise
        self._handle, new._handle = new._handle, self._handle
        new.close()

    def sync(self) -> None:
        """Make the content survive a power cut."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
