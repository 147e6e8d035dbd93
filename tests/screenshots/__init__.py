"""The pictures in the docs: ``python -m tests.screenshots`` takes them of a real shop at work."""
