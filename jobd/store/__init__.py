"""Access to Redis: connections, keys, scripts."""
