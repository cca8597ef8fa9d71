"""The connection between a trainer and its watchers, in one process or several."""
