"""The panels, one file each; every one of them shows a frame."""
