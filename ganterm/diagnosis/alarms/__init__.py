"""The alarms, one file for each kind; a file lists its rules as ``RULES``."""
