"""Exams measure G and D; rules raise alarms by these readings and the history of a run."""
