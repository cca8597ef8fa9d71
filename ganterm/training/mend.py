"""What a kill leaves in a run directory, put right before more is written behind it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ganterm.files import sweep
from ganterm.session.metrics import METRICS

_BLOCK = 1 << 16


def mend(run: Path) -> None:
    """Sweep half-written files away, cut torn lines off, and make all columns equally long.

    A metric that the run's writer did not know yet gets a column of NaN. Only for the one who
    holds the run's lock. OSError where the disk does not let it.
    """
    for folder in (run, *(run / name for name in ("history", "samples", "checkpoints"))):
        folder.mkdir(exist_ok=True)
        sweep(folder)
    for log in run.glob("*.jsonl"):
        _cut_torn_line(log)
    _level(run / "history")


def _cut_torn_line(path: Path) -> None:
    """Cut the file behind its last line feed."""
    with _opened(path) as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            end = start
        file.truncate(0)


def _level(folder: Path) -> None:
    """Cut all columns to the rows that every one has."""
    widths = {"step.i8": 8, "branch.i4": 4, **{f"{name}.f4": 4 for name in METRICS}}
    rows = {
        name: (folder / name).stat().st_size // width
        for name, width in widths.items()
        if (folder / name).exists()
    }
    count = min([rows.get("step.i8", 0), rows.get("branch.i4", 0), *rows.values()])
    for name, width in widths.items():
        if name in rows:
            with _opened(folder / name) as file:
                file.truncate(count * width)
        elif name.endswith(".f4"):
            with (folder / name).open("xb") as file:
                file.write(np.full(count, np.nan, "<f4").tobytes())


def _opened(path: Path) -> BinaryIO:
    """For reading and writing; OSError for a link, which may lead out of the run directory."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "r+b")
