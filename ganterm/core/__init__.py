"""The types and terms that all other packages share. No torch, no input or output."""
