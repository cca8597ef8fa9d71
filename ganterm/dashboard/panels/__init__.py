"""The panels of the dashboard, one file each. Every panel draws a frame."""
