"""ganterm: a terminal cockpit for training GANs."""

# This comes first: it decides where all other modules are looked for.
from ganterm import search_path as search_path

__version__ = "0.1.0"
