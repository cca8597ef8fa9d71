"""The run directory: all files of a run, readable while they are being written.

A thread of its own writes, so that a slow or full disk never delays a training step. A write that
fails waits and is tried again; meanwhile ``trouble`` says why. Files are reached from a descriptor
of the directory, and never through a link.
"""

from __future__ import annotations

import errno
import math
import os
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganterm.core.errors import UserError
from ganterm.core.events import Event
from ganterm.core.findings import Diagnosis
from ganterm.core.json_text import json_bytes, parse_json, shortest
from ganterm.core.metrics import METRICS, WHOLE
from ganterm.core.snapshot import Sample, View
from ganterm.core.text import clean
from ganterm.rundir.find import CheckpointName, point
from ganterm.rundir.jsonfile import FORMAT, MAX_BYTES
from ganterm.rundir.lock import RunLock
from ganterm.rundir.pictures import sample_png
from ganterm.rundir.repair import LOGS, mend
from ganterm.rundir.writer import Writer
from ganterm.system.files import AppendOnly, Folder, in_words
from ganterm.system.toml import MAX_BYTES as MAX_PRESET

MOST_WAITING = 20_000
"""Most batches of rows that wait for a disk, more than those of an hour; further rows are lost."""

_FOLDERS = ("history", "samples", "checkpoints")
_OURS = {*_FOLDERS, *LOGS, "preset.toml", "run.json", "files.json.gz", "run.lock", "host.log"}
_SCHEMA = json_bytes({"schema": METRICS, "format": FORMAT}) + b"\n"
_INDEX = json_bytes({"dtype": "<f4", "step": "<i8", "branch": "<i4", "format": FORMAT})
_START_FILES = len(METRICS) + 32
_START_BYTES = (1 << 12) * _START_FILES
"""Bytes that the first files of a run take: each takes at least a page."""


def check_can_create(runs: Path, name: str) -> None:
    """UserError where ``runs/name`` exists or cannot be created. This creates nothing."""
    if os.path.lexists(runs / name):
        raise UserError(
            f"run '{clean(name)}' exists in {clean(runs)}: go on with it by "
            f"`ganterm resume {clean(name)}`, or give another --run NAME"
        )
    nearest_folder = runs
    while not nearest_folder.exists():
        nearest_folder = nearest_folder.parent
    if not nearest_folder.is_dir():
        raise UserError(f"--runs-dir {clean(runs)}: {clean(nearest_folder)} is not a folder")
    if not os.access(nearest_folder, os.W_OK | os.X_OK):
        raise UserError(f"--runs-dir {clean(runs)}: cannot be written to; choose another folder")


class RunDirectory:
    """Writes into a run directory that exists; only for the trainer that holds ``lock``.

    The directory may be moved while it is written; ``path`` is its present place. Files and folders
    that are deleted in it are made again. ``about``: the contents of run.json. ``preset_toml``: the
    resolved preset. ``notice``: a remark on an unusual lock, else "". OSError where the disk
    refuses.
    """

    def __init__(
        self, folder: Folder, preset_toml: bytes, about: Mapping[str, Any], lock: RunLock
    ) -> None:
        self.folder = folder
        self.path = folder.path
        self.about = dict(about)
        self._preset_toml = preset_toml
        self._lost_rows = 0
        self._deleted = ""
        self.notice = lock.notice
        self._lock = lock
        self._metrics, self._events, self._diagnosis = (AppendOnly(folder, log) for log in LOGS)
        with folder.folder("history") as history:
            self._steps = AppendOnly(history, "step.i8")
            self._branches = AppendOnly(history, "branch.i4")
            self._columns = [AppendOnly(history, f"{metric}.f4") for metric in METRICS]
        self._writer = Writer(self._look_after)
        self._writer.start()

    @classmethod
    def create(
        cls, runs: Path, name: str, preset_toml: str, about: Mapping[str, Any], room: int = 0
    ) -> RunDirectory:
        """Create ``runs/name`` for a new run. Nothing is ever overwritten.

        ``room``: bytes that a checkpoint of the run takes. UserError where they are not free, or
        where the disk refuses the directory; then nothing of it is left.
        """
        path = runs / name
        about = {"format": FORMAT, **about}
        try:
            runs.mkdir(parents=True, exist_ok=True)
            _check_room(runs, room)
            laid_out = lay_out(path, preset_toml.encode(), about)
        except FileExistsError:
            check_can_create(runs, name)
            raise
        except OSError as error:
            raise _refused(path, error) from None
        try:
            return cls(laid_out.folder, preset_toml.encode(), about, laid_out.lock)
        except OSError as error:
            laid_out.remove()
            raise _refused(path, error) from None

    @classmethod
    def reopen(cls, path: Path, lock: RunLock) -> RunDirectory:
        """Open the directory of an earlier run to append to it, after repairing it."""
        try:
            folder = Folder.at(path)
            mend(folder)
            about = parse_json(folder.read("run.json", MAX_BYTES))
            return cls(folder, folder.read("preset.toml", MAX_PRESET), about, lock)
        except OSError as error:
            raise _refused(path, error) from None

    @property
    def gone(self) -> bool:
        """Whether the whole directory was deleted, so that further writes are lost."""
        return self.folder.gone

    @property
    def alarm(self) -> str | None:
        """What is wrong with the recording, as a message; None where nothing is wrong."""
        gone = None
        if self.gone:
            gone = f"{clean(self.path)} was deleted; at the end all is saved in another place"
        lost = f"{self._lost_rows:,} rows could not be kept" if self._lost_rows else None
        return "; ".join(filter(None, (gone, self._deleted, self.trouble, lost))) or None

    @property
    def trouble(self) -> str | None:
        """Why a write waits; None where none does."""
        return self._writer.trouble

    def rows(self, steps: NDArray[np.int64], branch: int, rows: NDArray[np.float32]) -> None:
        """Log rows of ``METRICS``, of shape (n, metrics), for ``steps`` (n,)."""
        if self._writer.waiting > MOST_WAITING:
            self._lost_rows += len(rows)
            return
        self._writer.put("metrics", lambda: self._metrics.append(json_rows(steps, branch, rows)))
        # The columns hold NaN in place of infinity, as their readers expect.
        values = np.where(np.isfinite(rows), rows, np.nan).astype("<f4")
        parts = deque([(self._branches, np.full(len(steps), branch, "<i4").tobytes())])
        parts += ((log, values[:, place].tobytes()) for place, log in enumerate(self._columns))
        parts.append((self._steps, steps.astype("<i8").tobytes()))

        def write() -> None:
            while parts:
                log, content = parts[0]
                log.append(content)
                parts.popleft()

        self._writer.put("history", write)

    def event(self, event: Event) -> None:
        """Log an event; on the disk soon, and safe from a power cut."""

        def write() -> None:
            self._events.append(json_bytes(event.table()) + b"\n")

        self._writer.put("events", write)
        self._writer.put("events", self._events.sync)

    def diagnosis(self, diagnosis: Diagnosis, branch: int) -> None:
        """Log a round of exams: the readings taken in it, and the modes' shares."""
        step = diagnosis.step
        line: dict[str, Any] = {"format": FORMAT, "step": step, "branch": branch}
        line["readings"] = {
            name: reading.value
            for name, reading in diagnosis.readings.items()
            if reading.step == step
        }
        modes = diagnosis.modes
        if modes is not None and modes.step == step:
            line["modes"] = {"names": modes.names, "shares": modes.shares}
        content = json_bytes(line) + b"\n"
        self._writer.put("diagnosis", lambda: self._diagnosis.append(content))

    def sample(self, sample: Sample, branch: int, view: View | None = None) -> None:
        """Write a sample picture; the picture of a requested ``view`` has the view in its name."""
        suffix = "" if view is None else f"-{view.name}-{view.painter}"
        name = f"step_{sample.step:010d}-b{branch}{suffix}.png"

        def write() -> None:
            with self.folder.folder("samples", make=True) as samples:
                samples.write_atomically(name, sample_png(sample))

        self._writer.put(f"samples/{name}", write)

    def update(self, **about: Any) -> None:
        """Change fields of run.json."""
        self.about.update(about)
        content = _indented(self.about)
        self._writer.put("about", lambda: self.folder.write_atomically("run.json", content))

    def point(self, pointer: str, name: CheckpointName | None) -> None:
        """Write a checkpoint's name into the file ``pointer``; None removes the file."""

        def write() -> None:
            with self.folder.folder("checkpoints", make=True) as folder:
                if name is not None:
                    point(folder, name, pointer)
                elif folder.has(pointer):
                    folder.remove(pointer)

        self._writer.put("pointers", write)

    def settled(self) -> threading.Event:
        """An event that is set once all rows and events that wait now are safely on disk."""
        done = threading.Event()
        lines = {
            "metrics": [self._metrics],
            "events": [self._events],
            "history": [self._branches, *self._columns, self._steps],
        }
        left = set(lines)

        def settle(line: str) -> None:
            for log in lines[line]:
                log.sync()
            left.discard(line)
            if not left:
                done.set()

        for line in lines:
            self._writer.put(line, partial(settle, line))
        return done

    def close(self) -> None:
        """Carry out all waiting writes and close the files; writes that fail now are given up."""
        self._writer.close()
        for log in self._logs:
            try:
                log.sync()
            except OSError as error:
                self._writer.trouble = f"recording waits: {clean(in_words(error))}"
            log.close()
        self._lock.release()

    def discard(self) -> None:
        """Close and remove a directory without any training, so that its name is free again."""
        self.close()
        remove(self.path)

    def second(self, parent: Path, room: int, step: int, branch: int) -> Place:
        """Create another directory for this run in ``parent``; OSError where that is impossible.

        It belongs to a run with an id of its own, forked at ``step``, because both runs may be
        resumed. ``room``: as for ``create``.
        """
        parent.mkdir(parents=True, exist_ok=True)
        _check_room(parent, room)
        stem = f"{self.path.name[:48]}-saved"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
        name = next(name for name in names if not os.path.lexists(parent / name))
        origin = {"id": self.about["id"], "step": step, "branch": branch}
        about = {**self.about, "id": str(uuid.uuid4()), "name": name, "parent": origin}
        return lay_out(parent / name, self._preset_toml, about)

    def move(self, place: Place) -> None:
        """Move all that was recorded, and all waiting writes, to ``place``, made by ``second``.

        A log without room there starts empty, and ``alarm`` says so.
        """
        moved = threading.Event()

        def move() -> None:
            try:
                with place.folder.folder("history") as history:
                    self._lock.release()
                    self.folder, self.path = place.folder, place.folder.path
                    self._lock, self.about = place.lock, place.about
                    self._deleted = ""
                    # The least important logs come last, because the room may not suffice for all.
                    self._move_together([self._events], self.folder)
                    self._move_together(self._history, history)
                    self._move_together([self._diagnosis], self.folder)
                    self._move_together([self._metrics], self.folder)
            finally:
                moved.set()

        self._writer.put("move", move)
        moved.wait()

    def _move_together(self, logs: list[AppendOnly], folder: Folder) -> None:
        try:
            for log in logs:
                log.move(folder)
        except OSError as error:
            why = f"not all that was recorded has room in {clean(self.path)}: {error.strerror}"
            self._deleted = why
            for log in logs:
                with suppress(OSError):
                    log.move(folder, _SCHEMA if log is self._metrics else b"")

    @property
    def _history(self) -> list[AppendOnly]:
        return [self._branches, *self._columns, self._steps]

    @property
    def _logs(self) -> list[AppendOnly]:
        return [self._metrics, self._events, self._diagnosis, *self._history]

    def _look_after(self) -> None:
        """Follow the directory if it was moved, and make deleted files and folders again."""
        if self.gone:
            return
        self.path = self.folder.place()
        deleted: list[str] = []
        # A failure is tried again at the next call, and a write into the missing file reports it.
        with suppress(OSError):
            deleted += (name for name in _FOLDERS if not self.folder.has(name))
            for name in deleted:
                self.folder.folder(name, make=True).close()
            for log in (self._metrics, self._events, self._diagnosis):
                if log.gone:
                    log.move(self.folder)
            with self.folder.folder("history") as history:
                for log in self._history:
                    if log.gone:
                        log.move(history)
                if not history.has("index.json"):
                    history.write_atomically("index.json", _INDEX)
            if not self.folder.has("preset.toml"):
                self.folder.write_atomically("preset.toml", self._preset_toml)
        if deleted:
            self._deleted = f"{', '.join(deleted)}: deleted while it trained, and made again"


class Place(NamedTuple):
    """A new run directory, not yet written to."""

    folder: Folder
    lock: RunLock
    about: dict[str, Any]

    def remove(self) -> None:
        """Remove the directory and release its lock."""
        self.lock.release()
        remove(self.folder.path)
        self.folder.close()


def lay_out(path: Path, preset_toml: bytes, about: dict[str, Any]) -> Place:
    """Make a run directory; OSError where that fails, and then nothing of it is left."""
    path.mkdir()
    folder = Folder.at(path)
    try:
        lock = RunLock(path)
        for name in _FOLDERS:
            folder.folder(name, make=True).close()
        folder.write_atomically("preset.toml", preset_toml)
        folder.write_atomically("run.json", _indented(about))
        folder.write_atomically("metrics.jsonl", _SCHEMA)
        with folder.folder("history") as history:
            history.write_atomically("index.json", _INDEX)
    except OSError:
        remove(path)
        raise
    return Place(folder, lock, about)


def remove(path: Path) -> None:
    """Remove a run directory without any training; one that holds foreign files stays."""
    with suppress(OSError), Folder.at(path.parent) as parent:
        with parent.folder(path.name) as folder:
            ours = {entry.name for entry in folder.entries()} <= _OURS
        if ours:
            parent.remove_tree(path.name)


def _check_room(folder: Path, room: int) -> None:
    """OSError where the file system has no room for a run's first files and ``room`` bytes."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < room + _START_BYTES:
        words = f"{free / 1e6:.1f} MB are free there, and a start and a first checkpoint take "
        raise OSError(errno.ENOSPC, f"{words}{(room + _START_BYTES) / 1e6:.1f} MB")
    if disk.f_files and disk.f_favail < _START_FILES:
        words = f"{disk.f_favail} files can be made there, and a start takes {_START_FILES}"
        raise OSError(errno.ENOSPC, words)


def _indented(table: Mapping[str, Any]) -> bytes:
    return json_bytes(table, indent=2)


def _refused(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        words = f"run directory {clean(path)}: {clean(error.strerror)}"
        return UserError(f"{words}; choose another --runs-dir")
    return UserError(f"run directory {clean(in_words(error), 400)}")


def json_rows(steps: NDArray[np.int64], branch: int, rows: NDArray[np.float32]) -> bytes:
    """Rows as JSON lines; a non-finite value is null, and ``nonfinite`` lists its name."""
    lines = []
    names = list(METRICS)
    finite, values = np.isfinite(rows), shortest(rows).tolist()
    for place, step in enumerate(steps.tolist()):
        table: dict[str, Any] = {"step": step, "branch": branch}
        table.update(zip(names, values[place], strict=True))
        if not finite[place].all():
            table["nonfinite"] = [n for n, ok in zip(names, finite[place], strict=True) if not ok]
        for name in WHOLE:
            if math.isfinite(table[name]):
                table[name] = int(table[name])
        lines.append(json_bytes(table) + b"\n")
    return b"".join(lines)
