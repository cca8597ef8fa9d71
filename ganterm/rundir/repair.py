"""What a kill leaves in a run directory, put right before more is written behind it."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress

import numpy as np

from ganterm.core.metrics import METRICS
from ganterm.rundir.columns import MOST_ROWS
from ganterm.rundir.reader import LONGEST_LINE
from ganterm.system.files import Folder

LOGS = ("metrics.jsonl", "events.jsonl", "diagnosis.jsonl")
_BLOCK = 1 << 16
_WRITTEN = {
    ".": r"preset\.toml|run\.json|metrics\.jsonl",
    "history": r"index\.json",
    "samples": r"step_\d{10,18}-b\d{1,9}(?:-\w{0,40}-\w{0,40})?\.png",
    "checkpoints": r"[A-Z]{1,20}",
}
"""Names of the files that are written beside their place, by folder."""
_CHECKPOINTS = re.compile(r"step_\d{10,18}-b\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def mend(run: Folder) -> None:
    """Sweep half-written files away, cut torn lines off, and make all columns equally long.

    A metric that the run's writer did not know yet gets a column of NaN. Only for the one who
    holds the run's lock. OSError where the disk does not let it, or where something is not what
    it must be; then nothing was changed behind it.
    """
    for name, names in _WRITTEN.items():
        with run.folder(name, make=name != ".") as folder:
            folder.sweep(re.compile(names, re.ASCII))
            if name == "checkpoints":
                folder.sweep(_CHECKPOINTS, folders=True)
    for log in LOGS:
        with suppress(FileNotFoundError):
            _cut_torn_line(run, log)
    with run.folder("history") as history:
        _level(history)


def _cut_torn_line(run: Folder, log: str) -> None:
    """Cut the file behind its last line feed; OSError where none is near its end."""
    with os.fdopen(run.open(log, os.O_RDWR), "r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            if size - end > LONGEST_LINE:
                words = f"no line ends in its last {LONGEST_LINE:,} bytes, so it is no log of a run"
                raise OSError(errno.EINVAL, words, str(run.path / log))
            start = max(0, end - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            end = start
        file.truncate(0)


def _level(history: Folder) -> None:
    """Cut all columns to the rows that every one has."""
    widths = {"step.i8": 8, "branch.i4": 4, **{f"{name}.f4": 4 for name in METRICS}}
    rows = {}
    for name, width in widths.items():
        with suppress(FileNotFoundError):
            rows[name] = history.size(name) // width
    count = min([rows.get("step.i8", 0), rows.get("branch.i4", 0), *rows.values()])
    if count > MOST_ROWS:
        words = f"{count:,} rows; ganterm goes on behind {MOST_ROWS:,} at most"
        raise OSError(errno.EFBIG, words, str(history.path))
    for name, width in widths.items():
        if name in rows:
            with os.fdopen(history.open(name, os.O_RDWR), "r+b") as file:
                file.truncate(count * width)
        elif name.endswith(".f4"):
            handle = history.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(handle, "wb") as file:
                file.write(np.full(count, np.nan, "<f4").tobytes())
