"""Bounds that both a preset and who only watches its run must know."""

MOST_STEPS = 10**15
MOST_BETWEEN_ROWS = 1_000_000
"""Largest value of ``run.record_every``, in steps."""
