"""Running jobs: the threads, and the outcome of each execution."""
