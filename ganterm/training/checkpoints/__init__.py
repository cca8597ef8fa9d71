"""Checkpoints: what they hold, how they are written, read, kept and resumed from."""
