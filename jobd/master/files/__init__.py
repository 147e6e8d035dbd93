"""The files beside the pidfile."""
