"""ganterm: a terminal cockpit for training GANs."""

# First of all, since what comes after is imported from where it leads to.
from ganterm import search_path as search_path  # isort: split

# Next, since Ctrl+C may come while the rest is loaded.
from ganterm import interrupts as interrupts

__version__ = "0.1.0"
