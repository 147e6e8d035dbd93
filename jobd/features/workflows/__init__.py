"""Workflows: building them by name, looking at them, waiting for them, acting on them."""
