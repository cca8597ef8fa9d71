"""Whether G is at its best, by the classifier-FID, and a checkpoint of it can be afforded."""

from __future__ import annotations

import time

from ganterm.diagnosis.frechet import CFID
from ganterm.session.findings import Diagnosis

MARGIN = 0.1
"""Share by which a value must lie below the best one, twice what chance makes of it: rounds of one
and the same G spread by up to 5 % (standard deviation; mnist_mlp after 50 to 1,500 steps)."""
PERIOD = 0.5
"""Of the time between two automatic checkpoints, what must pass before another best one."""


class Best:
    """Knows the lowest cFID that a checkpoint was kept of; lower is better.

    ``known``: that of earlier sittings, or None. ``minutes``: between two automatic checkpoints, 0
    for none, and then none is kept for being the best. What is best but comes too soon after the
    last one is let go: had it been noted, nothing that follows could be kept before it is better
    than what nobody has. So early on, when every round is better than the one before, a checkpoint
    is written once in a while, and the one that is kept may lag behind by that while.
    """

    def __init__(self, known: float | None, minutes: float) -> None:
        self._known = known
        self._every = PERIOD * 60 * minutes
        self._not_before = time.monotonic() + self._every

    def value(self, found: Diagnosis) -> float | None:
        """The cFID of the round ``found`` if it is to be kept, else None."""
        reading = found.readings.get(CFID)
        if not self._every or reading is None or reading.step != found.step:
            return None
        # A comparison with NaN is false.
        better = reading.value < float("inf")
        if self._known is not None:
            better = reading.value < (1 - MARGIN) * self._known
        return reading.value if better and time.monotonic() >= self._not_before else None

    def asked(self) -> None:
        """Note that a checkpoint was asked for: the next one has to wait."""
        self._not_before = time.monotonic() + self._every

    def kept(self, value: float) -> None:
        """Note what a checkpoint that is on the disk now was kept for."""
        self._known = value
