"""Repairs what a kill leaves in a run directory, before more is written to it."""

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
"""Bytes read at once, from the end of a log backwards."""
_WRITTEN = {
    ".": r"preset\.toml|run\.json|metrics\.jsonl",
    "history": r"index\.json",
    "samples": r"step_\d{10,18}-b\d{1,9}(?:-\w{0,40}-\w{0,40})?\.png",
    "checkpoints": r"[A-Z]{1,20}",
}
"""Names of the files that are written under a temporary name first, by folder."""
_CHECKPOINTS = re.compile(r"step_\d{10,18}-b\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def mend(run: Folder) -> None:
    """Remove half-written files, cut off torn lines, and make all columns equally long.

    A metric that the run does not have yet gets a column of NaN. Only the holder of the run's lock
    may call this. OSError where the disk refuses, or where a file has a wrong type; the files after
    it are then unchanged.
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
    """Cut a log off behind its last line feed; OSError where none is near its end."""
    with os.fdopen(run.open(log, os.O_RDWR), "r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            if size - end > LONGEST_LINE:
                words = f"no line ends in its last {LONGEST_LINE:,} bytes, so it is no log of a run"
                raise OSError(errno.EINVAL, words, str(run.path / log))
            start = max(0, end - _BLOCK)
            file.seek(start)
            line_feed = file.read(end - start).rfind(b"\n")
            if line_feed >= 0:
                file.truncate(start + line_feed + 1)
                return
            end = start
        file.truncate(0)


def _level(history: Folder) -> None:
    """Cut all columns to the length of the shortest, and add the missing ones."""
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
