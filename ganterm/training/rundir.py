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
from ganterm.files import AppendOnly, write_atomically
from ganterm.session.findings import Diagnosis
from ganterm.session.metrics import METRICS, WHOLE
from ganterm.session.protocol import Event, Sample, View
from ganterm.text import clean
from ganterm.training.pictures import sample_png

FORMAT = 1
RETRY_SECONDS = 2.0
MOST_WAITING = 20_000
"""Batches of rows in line behind a disk that takes nothing, above an hour's; then rows are lost."""

_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def check_can_create(runs: Path, name: str) -> None:
    """UserError where ``runs/name`` exists or could not be created; creates nothing."""
    if (runs / name).exists():
        raise UserError(
            f"run '{clean(name)}' exists in {clean(runs)}: give another --run NAME "
            "(`ganterm resume`, to go on with it, is still to come)"
        )
    nearest_folder = runs
    while not nearest_folder.exists():
        nearest_folder = nearest_folder.parent
    if not nearest_folder.is_dir():
        raise UserError(f"--runs-dir {clean(runs)}: {clean(nearest_folder)} is not a folder")
    if not os.access(nearest_folder, os.W_OK | os.X_OK):
        raise UserError(f"--runs-dir {clean(runs)}: cannot be written to; choose another folder")


class RunDirectory:
    """Creates ``runs/name`` and writes into it; one trainer's. Nothing is ever overwritten."""

    def __init__(self, runs: Path, name: str, preset_toml: str, about: Mapping[str, Any]) -> None:
        self.path = runs / name
        self.trouble: str | None = None
        self._lost_rows = 0
        try:
            self.path.mkdir(parents=True)
            for folder in ("history", "samples", "checkpoints"):
                (self.path / folder).mkdir()
            write_atomically(self.path / "preset.toml", preset_toml.encode())
            self._about = {"format": FORMAT, **about}
            self._write_about()
            self._metrics = AppendOnly(self.path / "metrics.jsonl")
            self._metrics.append(
                orjson.dumps({"schema": METRICS, "format": FORMAT}) + b"\n",
            )
            self._events = AppendOnly(self.path / "events.jsonl")
            self._diagnosis = AppendOnly(self.path / "diagnosis.jsonl")
            columns = {"dtype": "<f4", "step": "<i8", "branch": "<i4", "format": FORMAT}
            write_atomically(self.path / "history" / "index.json", orjson.dumps(columns))
            self._steps = AppendOnly(self.path / "history" / "step.i8")
            self._branches = AppendOnly(self.path / "history" / "branch.i4")
            self._columns = {
                metric: AppendOnly(self.path / "history" / f"{metric}.f4") for metric in METRICS
            }
        except FileExistsError:
            check_can_create(runs, name)
            raise
        except OSError as error:
            raise UserError(
                f"run directory {clean(self.path)}: {error.strerror}; choose another --runs-dir"
            ) from None
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ganterm-writer", daemon=True)
        self._thread.start()

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
        self._about.update(about)
        self._waiting.put(self._write_about)

    def close(self) -> None:
        """Write what is in line, waiting for it; what the disk refuses now is given up."""
        self._closing.set()
        self._waiting.put(None)
        self._thread.join()
        logs = [
            self._metrics,
            self._events,
            self._diagnosis,
            self._steps,
            self._branches,
            *self._columns.values(),
        ]
        for log in logs:
            try:
                log.sync()
            except OSError as error:
                self.trouble = _in_words(error)
            log.close()

    def _append_later(self, log: AppendOnly, content: bytes) -> None:
        self._waiting.put(lambda: log.append(content))

    def _write_about(self) -> None:
        write_atomically(
            self.path / "run.json", orjson.dumps(self._about, option=orjson.OPT_INDENT_2)
        )

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
