"""What rules read off a run's past: blocks of rows, how long a state has lasted, how old it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Steps
from ganterm.diagnosis.medians import Values
from ganterm.diagnosis.rule import Record

ROUNDS = 4
"""Rounds of exams after which a reading is too old to judge by."""
STEPS_PER_ROUND = 100
"""Steps from one round to the next in the runs by which the rules' bounds were chosen. Rounds that
come at once are closer; what counts rounds back must not become more hasty by it."""

Flags = NDArray[np.bool_]


def block_medians(record: Record, *metrics: str) -> tuple[Steps, Values]:
    """Medians of the newest rows of each metric: first steps (b,), and values (metrics, b).

    Whole blocks only, counted from the run's first row. NaN for a block less than half of which
    was measured.
    """
    return record.medians.newest(record.history, metrics)


def lasting_since(flags: Flags, least: int) -> int | None:
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


def rounds_ago(steps: Steps, rounds: int) -> int:
    """The place of the reading ``rounds`` rounds before the newest, counted from the end.

    Urgent rounds follow each other closely, so the reading is also at least ``rounds`` times
    STEPS_PER_ROUND steps old, or the oldest where none is. ``steps`` are those of the readings,
    rising and not empty.
    """
    far = int(np.searchsorted(steps, steps[-1] - rounds * STEPS_PER_ROUND, side="right")) - 1
    return max(0, min(far, len(steps) - 1 - rounds))


def recent(record: Record, name: str) -> float:
    """The newest reading of a measure; NaN without one, and where it is too old.

    Too old: taken more than ROUNDS rounds before the newest; see ``rounds_ago``. Good to choose by,
    and for a word beside; see ``taken``.
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
    """A measure's reading of this very round; NaN where it was not taken in it.

    What is judged: one reading must not count twice because nothing newer is there.
    """
    reading = record.diagnosis.readings.get(name)
    if reading is None or reading.step != record.diagnosis.step:
        return float("nan")
    return reading.value
