"""The terminal: what is sent to it, what it can do, and how it is left."""
