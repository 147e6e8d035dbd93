"""Chaos: several daemons work while processes, connections and the server are killed at random.

``python -m tests.chaos --seed N --kills N`` does it and proves that nothing was lost. The proof
does not rest on the daemons: the server's append-only file holds every change of the data in its
order (:mod:`tests.chaos.history`), the jobs note their own executions in files that no kill can
take back (:mod:`tests.chaos.journal`), and :mod:`tests.chaos.verdict` holds the two against each
other and against the list of faults.
"""
