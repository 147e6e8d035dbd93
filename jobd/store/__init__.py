"""All that is said to Redis."""
