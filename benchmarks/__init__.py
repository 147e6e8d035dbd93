"""Benchmarks: jobd, its peers and its limits, measured in one run on one machine, in turn.

``make bench`` runs them all; ``python -m benchmarks --help`` says what can be chosen. The method
and its weaknesses are in docs/benchmarks.md.
"""
