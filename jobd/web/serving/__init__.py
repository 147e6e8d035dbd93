"""Serving the dashboard: the HTTP server and its limits."""
