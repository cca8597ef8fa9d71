"""Torch modules that the families build; nothing in here is imported before torch is wanted."""
