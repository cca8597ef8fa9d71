"""The alarms, one file each; a file lists its rules as ``RULES``."""
