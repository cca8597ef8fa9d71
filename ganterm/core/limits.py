"""Bounds that presets and watchers of a run share."""

MOST_STEPS = 10**15
"""Largest number of steps of a run; more than any run reaches, and exact in a float64."""
MOST_BETWEEN_ROWS = 1_000_000
"""Largest value of ``run.record_every``, in steps."""
