"""The run directory: everything that is known of a run, readable while it is being written.

A thread of its own writes, so that a slow or full disk never holds a training step up. What could
not be written stays in line and is tried again; meanwhile ``trouble`` says why.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ganterm.errors import UserError
from ganterm.files import AppendOnly, read_file, write_atomically
from ganterm.session.findings import Diagnosis
from ganterm.session.jsonfile import FORMAT, MAX_BYTES
from ganterm.session.lock import RunLock
from ganterm.session.metrics import METRICS, WHOLE
from ganterm.session.protocol import Event, Sample, View
from ganterm.session.runs import CheckpointName
from ganterm.text import clean
from ganterm.training import checkpoint
from ganterm.training.mend import mend
from ganterm.training.pictures import sample_png

RETRY_SECONDS = 2.0
MOST_WAITING = 20_000
"""Batches of rows in line behind a disk that takes nothing, above an hour's; then rows are lost."""

_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def check_can_create(runs: Path, name: str) -> None:
    """UserError where ``runs/name`` exists or could not be created; creates nothing."""
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
    """Writes into a run directory that is laid out; one trainer's, who holds ``lock``.

    ``about``: what run.json says. ``notice``: how the run is locked where that is out of the
    ordinary, else "". OSError where the disk does not let it be written.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], lock: RunLock) -> None:
        self.path = path
        self.trouble: str | None = None
        self._lost_rows = 0
        self.about = dict(about)
        self.notice = lock.notice
        self._lock = lock
        self._metrics = AppendOnly(path / "metrics.jsonl")
        self._events = AppendOnly(path / "events.jsonl")
        self._diagnosis = AppendOnly(path / "diagnosis.jsonl")
        self._steps = AppendOnly(path / "history" / "step.i8")
        self._branches = AppendOnly(path / "history" / "branch.i4")
        self._columns = {
            metric: AppendOnly(path / "history" / f"{metric}.f4") for metric in METRICS
        }
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ganterm-writer", daemon=True)
        self._thread.start()

    @classmethod
    def create(
        cls, runs: Path, name: str, preset_toml: str, about: Mapping[str, Any]
    ) -> RunDirectory:
        """Lay out ``runs/name`` for a run that begins. Nothing is ever overwritten."""
        path = runs / name
        about = {"format": FORMAT, **about}
        try:
            path.mkdir(parents=True)
            lock = RunLock(path)
            for folder in ("history", "samples", "checkpoints"):
                (path / folder).mkdir()
            write_atomically(path / "preset.toml", preset_toml.encode())
            write_atomically(path / "run.json", _indented(about))
            schema = orjson.dumps({"schema": METRICS, "format": FORMAT}) + b"\n"
            write_atomically(path / "metrics.jsonl", schema)
            columns = {"dtype": "<f4", "step": "<i8", "branch": "<i4", "format": FORMAT}
            write_atomically(path / "history" / "index.json", orjson.dumps(columns))
            return cls(path, about, lock)
        except FileExistsError:
            check_can_create(runs, name)
            raise
        except OSError as error:
            raise _refused(path, error) from None

    @classmethod
    def reopen(cls, path: Path, lock: RunLock) -> RunDirectory:
        """Go on writing behind what is there, which is mended first where a kill has torn it."""
        try:
            mend(path)
            return cls(path, orjson.loads(read_file(path / "run.json", MAX_BYTES)), lock)
        except OSError as error:
            raise _refused(path, error) from None

    @property
    def alarm(self) -> str | None:
        """What is wrong with the recording, in words; None where all is well."""
        lost = f"{self._lost_rows:,} rows could not be kept" if self._lost_rows else None
        return "; ".join(told for told in (self.trouble, lost) if told) or None

    def rows(self, steps: NDArray[np.int64], branch: int, rows: NDArray[np.float32]) -> None:
        """Log rows of ``METRICS``, shape (n, metrics), of the given steps."""
        if self._waiting.qsize() > MOST_WAITING:
            self._lost_rows += len(rows)
            return
        self._waiting.put(lambda: self._metrics.append(json_rows(steps, branch, rows)))
        branches = np.full(len(steps), branch, "<i4")
        self._append_later(self._branches, branches.tobytes())
        for place, log in enumerate(self._columns.values()):
            # History says nothing rather than infinity, as its readers do.
            column = np.where(np.isfinite(rows[:, place]), rows[:, place], np.nan)
            self._append_later(log, column.astype("<f4").tobytes())
        self._append_later(self._steps, steps.astype("<i8").tobytes())

    def event(self, event: Event) -> None:
        """Log an event; on the disk soon, and safe from a power cut."""

        def write() -> None:
            self._events.append(orjson.dumps(event.table(), option=_JSON))

        self._waiting.put(write)
        self._waiting.put(self._events.sync)

    def diagnosis(self, diagnosis: Diagnosis, branch: int) -> None:
        """Log what a round of exams found: what was read in it, and the modes' shares."""
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
        self._waiting.put(lambda: self._diagnosis.append(orjson.dumps(line, option=_JSON)))

    def sample(self, sample: Sample, branch: int, view: View | None = None) -> None:
        """Write the sample picture of its step; of a ``view`` asked for, under its name."""
        asked = "" if view is None else f"-{view.name}-{view.painter}"
        path = self.path / "samples" / f"step_{sample.step:010d}-b{branch}{asked}.png"
        self._waiting.put(lambda: write_atomically(path, sample_png(sample)))

    def update(self, **about: Any) -> None:
        """Change what run.json says."""
        self.about.update(about)
        content = _indented(self.about)
        self._waiting.put(lambda: write_atomically(self.path / "run.json", content))

    def point(self, pointer: str, name: CheckpointName | None) -> None:
        """Have the file ``pointer`` name a checkpoint, or have it gone where there is none."""
        folder = self.path / "checkpoints"

        def write() -> None:
            if name is None:
                (folder / pointer).unlink(missing_ok=True)
            else:
                checkpoint.point(folder, name, pointer)

        self._waiting.put(write)

    def settled(self) -> threading.Event:
        """Set once all that is in line now is on the disk, safe from a power cut."""
        done = threading.Event()
        for log in self._logs:
            self._waiting.put(log.sync)
        self._waiting.put(done.set)
        return done

    def close(self) -> None:
        """Write what is in line, waiting for it; what the disk refuses now is given up."""
        self._closing.set()
        self._waiting.put(None)
        self._thread.join()
        for log in self._logs:
            try:
                log.sync()
            except OSError as error:
                self.trouble = _in_words(error)
            log.close()
        self._lock.release()

    @property
    def _logs(self) -> list[AppendOnly]:
        columns = [self._steps, self._branches, *self._columns.values()]
        return [self._metrics, self._events, *columns]

    def _append_later(self, log: AppendOnly, content: bytes) -> None:
        self._waiting.put(lambda: log.append(content))

    def _work(self) -> None:
        while (write := self._waiting.get()) is not None:
            while True:
                last_try = self._closing.is_set()
                try:
                    write()
                    self.trouble = None
                    break
                except OSError as error:
                    self.trouble = _in_words(error)
                    if last_try:
                        break
                    self._closing.wait(RETRY_SECONDS)


def _indented(table: Mapping[str, Any]) -> bytes:
    return orjson.dumps(table, option=orjson.OPT_INDENT_2)


def _refused(path: Path, error: OSError) -> UserError:
    return UserError(f"run directory {clean(path)}: {error.strerror}; choose another --runs-dir")


def _in_words(error: OSError) -> str:
    return f"recording waits: {error.strerror}"


def json_rows(steps: NDArray[np.int64], branch: int, rows: NDArray[np.float32]) -> bytes:
    """JSON lines of rows; a non-finite value is null and its name stands in ``nonfinite``."""
    lines = []
    names = list(METRICS)
    finite = np.isfinite(rows)
    for place, step in enumerate(steps.tolist()):
        table: dict[str, Any] = {"step": step, "branch": branch}
        table.update(zip(names, rows[place], strict=True))
        if not finite[place].all():
            table["nonfinite"] = [n for n, ok in zip(names, finite[place], strict=True) if not ok]
        for name in WHOLE:
            if np.isfinite(table[name]):
                table[name] = int(table[name])
        lines.append(orjson.dumps(table, option=_JSON))
    return b"".join(lines)
