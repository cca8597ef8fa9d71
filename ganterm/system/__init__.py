"""Files, folders and signals: what ganterm asks of the operating system."""
