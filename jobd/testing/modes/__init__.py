"""What takes the place of Redis in a test: pushes are collected, run at once, or refused."""
