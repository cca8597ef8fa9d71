"""The classifier that counts the modes of labelled data."""
