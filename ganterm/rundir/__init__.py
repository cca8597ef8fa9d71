"""The run directory: the only room that knows the names and formats of a run's files."""
