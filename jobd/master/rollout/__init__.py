"""Replacing workers: reload, recycling, another number of them."""
