"""The library that applications import."""
