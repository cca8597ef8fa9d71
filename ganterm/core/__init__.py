"""The words that all rooms share. No torch, no I/O."""
