"""A process: its signals, its identity, its title, its threads, its end."""
