"""Files that a crash, a kill, a full disk or a stranger's run directory never does harm through.

A ``Folder`` is held by a descriptor. What lies in it is reached by its name alone, and never
through a link, which may lead anywhere.
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
"""Entries of a folder that are looked at; a run of months has about as many pictures."""
_BLOCK = 1 << 20
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system answers that cannot fsync folders, as some over FUSE and NFS."""
_NAMED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """A folder that stays the same one while it is moved; ``path`` is where it was found.

    OSError, with the path and words that say what is wrong, for whatever is not there, is a link,
    or is another kind of thing than is asked for: a pipe would be waited at for ever.
    """

    def __init__(self, handle: int, path: Path) -> None:
        self.handle = handle
        self.path = path

    @classmethod
    def at(cls, path: Path) -> Folder:
        """The folder at ``path``, which itself may be reached through links."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let the descriptor go."""
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)

    @property
    def gone(self) -> bool:
        """Whether it was deleted, or its file system was taken away."""
        try:
            return os.fstat(self.handle).st_nlink == 0
        except OSError:
            return True

    def place(self) -> Path:
        """Where it is now: ``path``, or another one where it was moved and that can be found."""
        with suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self.handle)):
                return self.path
        with suppress(OSError):
            if sys.platform == "darwin":
                found = fcntl.fcntl(self.handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")
                return Path(os.fsdecode(found))
            moved = Path(f"/proc/self/fd/{self.handle}").readlink()
            if os.path.samestat(moved.stat(), os.fstat(self.handle)):
                return moved
        return self.path

    def folder(self, name: str, make: bool = False) -> Folder:
        """The folder ``name`` in this one, made where it is missing and ``make`` says so."""
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=self.handle)
        flags = os.O_RDONLY | os.O_DIRECTORY | _NAMED
        try:
            return Folder(os.open(name, flags, dir_fd=self.handle), self.path / name)
        except OSError as error:
            raise self._problem(name, error, stat.S_ISDIR, "folder") from None

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        """A descriptor of the file ``name``; ``mode`` is that of a file that is made."""
        try:
            handle = os.open(name, flags | _NAMED, mode, dir_fd=self.handle)
        except OSError as error:
            raise self._problem(name, error, stat.S_ISREG, "file") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise self._problem(name, OSError(errno.EINVAL, "?"), stat.S_ISREG, "file")
        return handle

    def size(self, name: str) -> int:
        """The bytes of the file ``name``."""
        handle = self.open(name)
        try:
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def read(self, name: str, most: int, start: int = 0) -> bytes:
        """What the file ``name`` holds from ``start`` on; ``most`` bytes, and one more, at most."""
        with os.fdopen(self.open(name), "rb") as file:
            file.seek(start)
            return file.read(most + 1)

    def lines(self, name: str, longest: int, start: int = 0) -> Iterator[bytes]:
        """The lines of the file ``name`` from byte ``start`` on, without their line feeds.

        One that is longer than ``longest`` bytes is left out.
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
        """What lies in the folder, in no order; OSError after ``MOST_ENTRIES``."""
        with os.scandir(self.handle) as found:
            for number, entry in enumerate(found):
                if number == MOST_ENTRIES:
                    words = f"it has more than {MOST_ENTRIES:,} entries"
                    raise OSError(errno.E2BIG, words, str(self.path))
                yield entry

    def has(self, name: str) -> bool:
        """Whether there is anything by that name, whatever it is."""
        try:
            os.lstat(name, dir_fd=self.handle)
        except FileNotFoundError:
            return False
        return True

    def write_atomically(self, name: str, content: bytes) -> None:
        """Write beside, fsync, rename, fsync the folder: the file is old or new, never torn."""
        beside = f".{name}.{os.getpid()}.tmp"
        # Whatever lies there, a process with the same number has left it.
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=self.handle)
        try:
            handle = self.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            self.rename(beside, name)
        except OSError:
            with suppress(OSError):
                os.unlink(beside, dir_fd=self.handle)
            raise
        self.sync()

    def rename(self, name: str, to: str) -> None:
        """Give ``name`` another name; what had that one before is replaced, but for a folder."""
        try:
            os.rename(name, to, src_dir_fd=self.handle, dst_dir_fd=self.handle)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / to)) from None

    def remove(self, name: str) -> None:
        """Remove the file or link ``name``, no folder."""
        os.unlink(name, dir_fd=self.handle)

    def remove_tree(self, name: str) -> None:
        """Remove the folder ``name`` with all that is in it; no link is followed."""
        shutil.rmtree(name, dir_fd=self.handle)

    def sync(self) -> None:
        """Make renames inside the folder last, where the file system can."""
        try:
            os.fsync(self.handle)
        except OSError as error:
            if error.errno not in _UNSYNCED:
                raise

    def sweep(self, names: re.Pattern[str], folders: bool = False) -> None:
        """Remove what was being written beside its place when its writer was killed.

        ``names``: those of files, or of ``folders``, that are written so. All else stays, and so
        does what lies behind the first ``MOST_ENTRIES``.
        """
        left_over = re.compile(rf"\.(?:{names.pattern})\.[1-9][0-9]{{0,9}}\.tmp")
        with os.scandir(self.handle) as found:
            torn = [e for e in islice(found, MOST_ENTRIES) if left_over.fullmatch(e.name)]
        for entry in torn:
            if folders and entry.is_dir(follow_symlinks=False):
                self.remove_tree(entry.name)
            elif not folders and entry.is_file(follow_symlinks=False):
                self.remove(entry.name)

    def _problem(
        self, name: str, error: OSError, right: Callable[[int], bool], kind: str
    ) -> OSError:
        """``error`` with words for what ``name`` is, where that is not what is asked for."""
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
    """What is wrong, and with which file where that is known, for a message in one line."""
    what = error.strerror or type(error).__name__
    return f"{error.filename}: {what}" if error.filename else what


def read_file(path: Path, most: int) -> bytes:
    """The content of a regular file; of one longer than ``most`` bytes, ``most`` and one more.

    The file may be reached through links. OSError for whatever is no file: a pipe by a file's
    name would be waited at for ever.
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
    """A descriptor that appends to a file, made where there is none.

    OSError for a link, which may lead anywhere, and for a pipe.
    """
    with Folder.at(path.parent) as folder:
        return folder.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class AppendOnly:
    """A log that only grows; a write that fails half-way is taken back."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._name = name
        self._handle = folder.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def append(self, content: bytes) -> None:
        """Add ``content`` whole or not at all; OSError where the disk does not take it."""
        # Whoever needs room may have emptied the file meanwhile.
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
        """Go on in a new file by the same name in ``folder``, in place of what is there.

        It begins with all that was appended so far, even if that was deleted, or with ``head``
        alone. OSError, and nothing changes, where the disk does not take it.
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
        """Make what was appended survive a power cut."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
