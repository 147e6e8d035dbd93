"""A child of the master: its first moments, what it is given, and its main thread."""
