"""The one door between a trainer and whoever watches it."""
