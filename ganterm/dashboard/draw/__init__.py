"""numpy arrays in, Strips out: charts and pictures. No widgets, no app."""
