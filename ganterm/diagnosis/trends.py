"""Readings and rows over time: medians of blocks, how long a state lasts, how old a reading is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Steps
from ganterm.diagnosis.medians import Values
from ganterm.diagnosis.rule import Record

ROUNDS = 4
"""Age in rounds of exams above which a reading is too old to judge by."""
STEPS_PER_ROUND = 100
"""Steps from one round to the next in the runs by which the rules' bounds were chosen.

Urgent rounds are closer together. Rules that count rounds back wait for as many steps, so that they
do not become hastier.
"""

Flags = NDArray[np.bool_]


def block_medians(record: Record, *metrics: str) -> tuple[Steps, Values]:
    """Medians of the newest rows of each metric: first steps (b,) and values (metrics, b).

    Blocks are whole and counted from the run's first row. A block of which less than half was
    measured is NaN.
    """
    return record.medians.newest(record.history, metrics)


def lasting_since(flags: Flags, least: int) -> int | None:
    """The place at which a state that still lasts began, or None.

    The state lasts if at least ``least`` flags up to the newest are true. A single false flag in
    between does not end it; the first and the newest are true.
    """
    if len(flags) < least or not flags[-1]:
        return None
    first = place = len(flags) - 1
    while place >= 0 and (flags[place] or (place > 0 and flags[place - 1])):
        first = place if flags[place] else first
        place -= 1
    return first if len(flags) - first >= least else None


def rounds_ago(steps: Steps, rounds: int) -> int:
    """The place of the reading ``rounds`` rounds before the newest, counted from the end.

    Urgent rounds follow each other closely, so the reading is also at least ``rounds`` times
    STEPS_PER_ROUND steps old, or the oldest where none is. ``steps`` are those of the readings,
    rising and not empty.
    """
    far = int(np.searchsorted(steps, steps[-1] - rounds * STEPS_PER_ROUND, side="right")) - 1
    return max(0, min(far, len(steps) - 1 - rounds))


def recent(record: Record, name: str) -> float:
    """The newest reading of a measure; NaN without one, or where it is too old.

    Too old means taken more than ROUNDS rounds before the newest. It serves to choose between
    measures and for words in a message; see ``current``.
    """
    reading = record.diagnosis.readings.get(name)
    rounds = record.diagnosis.series.get("diversity_pixels")
    if reading is None:
        return float("nan")
    if rounds is not None and len(rounds.steps) > ROUNDS:
        oldest = rounds.steps[rounds_ago(rounds.steps, ROUNDS)]
        if reading.step < oldest:
            return float("nan")
    return reading.value


def current(record: Record, name: str) -> float:
    """The reading of this very round; NaN where the measure was not taken in it.

    Rules judge by it, since one reading must not count twice.
    """
    reading = record.diagnosis.readings.get(name)
    if reading is None or reading.step != record.diagnosis.step:
        return float("nan")
    return reading.value
