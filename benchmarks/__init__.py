"""Benchmarks: jobd, its peers and its limits, measured in one run on one machine, in turn.

``make bench`` runs them all; ``python -m benchmarks --help`` says what can be chosen. The method
and its weaknesses are in docs/benchmarks.md.

The modules of this folder are commands. What jobs do is in ``load``, each tool's own part in
``apps``, who is measured and how much of it in ``run``; the subjects are in ``measures``, and what
comes out of a run is in ``report``.
"""
