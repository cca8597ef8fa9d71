"""ganterm: a terminal cockpit for training GANs."""

# First of all, since Ctrl+C may come while the rest is loaded.
from ganterm import interrupts as interrupts

__version__ = "0.1.0"
