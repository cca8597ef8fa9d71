"""The alarms, one file each: rules that judge what was measured, listed as ``RULES``."""
