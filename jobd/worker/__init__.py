"""The worker: a process that claims jobs from Redis and runs them in its threads."""
