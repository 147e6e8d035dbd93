"""Searching what is in Redis."""
