"""The policies: what the master watches, and what it does about it."""
