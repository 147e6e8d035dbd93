"""One suite for two stores: a real server, and the world in memory."""
