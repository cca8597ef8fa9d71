"""Bounds that both a preset and who only watches its run must know."""

MOST_STEPS = 10**15
MOST_BETWEEN_ROWS = 1_000_000
"""Of ``run.record_every``."""
