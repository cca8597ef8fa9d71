"""What rules read off a run's past: blocks of rows, how long a state has lasted, how old it is."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from ganterm.diagnosis.rule import Record
from ganterm.session.findings import Steps

BLOCK = 20
"""Rows in a block, whose median speaks for it: a spike of one step is no alarm."""
BLOCKS = 100
"""Blocks looked back at, at most."""
ROUNDS = 4
"""Rounds of exams after which a reading is too old to judge by."""

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]


def blocks(record: Record, *metrics: str) -> tuple[Steps, Values]:
    """Medians of the newest rows of each metric: first steps (b,), and values (metrics, b).

    NaN for a block less than half of which was measured.
    """
    steps = np.empty(0, np.int64)
    medians = []
    for metric in metrics:
        steps, values = record.rows(metric, BLOCK * BLOCKS)
        whole = len(values) // BLOCK
        cut = values[len(values) - whole * BLOCK :].astype(np.float64).reshape(whole, BLOCK)
        medians.append(_medians(cut))
        steps = steps[len(steps) - whole * BLOCK :: BLOCK]
    return steps, np.stack(medians)


def _medians(cut: Values) -> Values:
    """Of each row of (b, BLOCK), (b,)."""
    missing = np.isnan(cut)
    if not missing.any():
        return np.asarray(np.median(cut, axis=1))  # Many times faster than what minds NaN.
    few = missing.sum(axis=1) * 2 > BLOCK
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Of blocks without any value.
        return np.where(few, np.nan, np.nanmedian(cut, axis=1))


def began(flags: Flags, least: int) -> int | None:
    """The place where what still lasts began: at least ``least`` flags up to the newest.

    A single false one in between does not end it; the newest and the first are true.
    """
    if len(flags) < least or not flags[-1]:
        return None
    first = place = len(flags) - 1
    while place >= 0 and (flags[place] or (place > 0 and flags[place - 1])):
        first = place if flags[place] else first
        place -= 1
    return first if len(flags) - first >= least else None


def fresh(record: Record, name: str) -> float:
    """The newest reading of a measure; NaN without one, and where it is too old.

    Too old: taken more than ROUNDS rounds before the newest. Good to choose by, and for a word
    beside; see ``taken``.
    """
    reading = record.diagnosis.readings.get(name)
    rounds = record.diagnosis.series.get("diversity_pixels")
    if reading is None:
        return float("nan")
    if rounds is not None and len(rounds.steps) > ROUNDS:
        oldest = int(rounds.steps[-1 - ROUNDS])
        if reading.step < oldest:
            return float("nan")
    return reading.value


def taken(record: Record, name: str) -> float:
    """A measure's reading of this very round; NaN where it was not taken in it.

    What is judged: one reading must not count twice because nothing newer is there.
    """
    reading = record.diagnosis.readings.get(name)
    if reading is None or reading.step != record.diagnosis.step:
        return float("nan")
    return reading.value
