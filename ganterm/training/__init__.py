"""The training of G and D: the loop, what is recorded of it, and the run directory."""
