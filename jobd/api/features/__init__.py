"""Looking at what hangs on jobs, and acting on it."""
