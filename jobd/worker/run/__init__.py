"""Running jobs: the threads, and how each execution ends."""
