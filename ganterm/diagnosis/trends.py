"""Readings and rows over time: medians of blocks, how long a state lasts, how old a reading is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Steps
from ganterm.diagnosis.medians import Values
from ganterm.diagnosis.rule import Record

ROUNDS = 4
"""Largest age of a reading, in rounds of exams, at which it can still be used."""
STEPS_PER_ROUND = 100
"""Steps between two rounds of exams in the runs on which the rules' bounds were chosen.

Urgent rounds are closer together. Rules that count rounds also wait for as many steps, so that
urgent rounds do not make them hasty.
"""

Flags = NDArray[np.bool_]


def block_medians(record: Record, *metrics: str) -> tuple[Steps, Values]:
    """Medians of the newest rows of each metric: first steps (b,) and values (metrics, b).

    Blocks are counted from the run's first row, and only whole ones count. A block is NaN if more
    than half of it was not measured.
    """
    return record.medians.newest(record.history, metrics)


def lasting_since(flags: Flags, least: int) -> int | None:
    """The place of the flag at which a state that still lasts began, or None.

    The state lasts if at least ``least`` flags, up to the newest, are true. A single false flag in
    between does not end it; the first and the newest flag must be true.
    """
    if len(flags) < least or not flags[-1]:
        return None
    first = place = len(flags) - 1
    while place >= 0 and (flags[place] or (place > 0 and flags[place - 1])):
        first = place if flags[place] else first
        place -= 1
    return first if len(flags) - first >= least else None


def rounds_ago(steps: Steps, rounds: int) -> int:
    """The place in ``steps`` of a reading at least ``rounds`` rounds before the newest.

    ``steps``: of all readings, rising and not empty. Urgent rounds follow each other closely, so
    the reading is also at least ``rounds`` times STEPS_PER_ROUND steps older than the newest. If
    none is so old, the result is the place of the oldest.
    """
    far = int(np.searchsorted(steps, steps[-1] - rounds * STEPS_PER_ROUND, side="right")) - 1
    return max(0, min(far, len(steps) - 1 - rounds))


def recent(record: Record, name: str) -> float:
    """The newest reading of a measure; NaN without one, or if it is more than ROUNDS rounds old.

    Use it to choose between measures and in the words of a message. Judge by ``current``.
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
    """The reading of this very round; NaN if the measure was not taken in it.

    Rules judge by it, so that no reading counts twice.
    """
    reading = record.diagnosis.readings.get(name)
    if reading is None or reading.step != record.diagnosis.step:
        return float("nan")
    return reading.value
