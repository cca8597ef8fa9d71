"""Real batches for the coming iteration, and the wait for them where their source is away."""

from __future__ import annotations

import time

from ganterm.training.batches import RealBatches, SourceFault

FIRST_GAP = 1.0
LONGEST_GAP = 60.0
PATIENCE_SECONDS = 600.0
"""How long a source that is away is tried by itself; then the user has to say so."""


class Supply:
    """Asks for what an iteration needs before it begins, so that it never breaks off half-way.

    ``waits``: the source is away and tried again by itself, at times ever further apart.
    ``given_up``: it was away for too long for that.
    """

    def __init__(self, batches: RealBatches) -> None:
        self.waits = False
        self.given_up = False
        self._batches = batches
        self._since = 0.0
        self._gap = 0.0
        self._next_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to try again."""
        return self.waits and time.monotonic() >= self._next_at

    def fault(self, count: int) -> SourceFault | None:
        """Have ``count`` batches at hand; what is in the way of that, or None."""
        try:
            self._batches.prepare(count)
        except SourceFault as fault:
            self._wait()
            return fault
        self.waits = self.given_up = False
        self._gap = 0.0
        return None

    def forget(self) -> None:
        """Do not try again by itself: the user wants the run to rest."""
        self.waits = False

    def _wait(self) -> None:
        now = time.monotonic()
        if not self._gap:
            self._since = now
        self._gap = min(LONGEST_GAP, 2 * self._gap or FIRST_GAP)
        self._next_at = now + self._gap
        self.given_up = now - self._since >= PATIENCE_SECONDS
        self.waits = not self.given_up

    @property
    def told(self) -> str:
        """When it is tried again, in words."""
        if self.given_up:
            return f"given up after {PATIENCE_SECONDS / 60:.0f} min; unpause tries again"
        return f"tried again every {self._gap:.0f} s; unpause tries at once"
