"""Process management: signals, identity, title, threads, exit."""
