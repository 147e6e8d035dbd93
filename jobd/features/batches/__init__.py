"""Batches: jobs that are pushed together, and callbacks for when they have ended."""
