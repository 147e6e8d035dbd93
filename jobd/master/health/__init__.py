"""The policies: what the master monitors and how it reacts."""
