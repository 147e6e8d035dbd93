"""Replacing workers: reload, recycling, scaling."""
