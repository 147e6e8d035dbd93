"""Logging, from the logger call to the file."""
