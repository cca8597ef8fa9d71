"""ganterm: a terminal cockpit for training GANs."""

__version__ = "0.1.0"
