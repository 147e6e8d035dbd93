"""Graphs of workflows: what their steps are and what follows what; no I/O."""
