"""Cancelling jobs: what code inside a job uses. Cancelling itself is in the data API."""
