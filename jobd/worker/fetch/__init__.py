"""Claiming jobs and acknowledging them: the fetcher thread."""
