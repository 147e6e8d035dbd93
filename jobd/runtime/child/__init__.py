"""A child process of the master: its initialization, context and main loop."""
