"""Chaos: several daemons work while processes, connections and the server are killed at random.

The server also goes away for minutes, freezes, and has its clock set; the network of one daemon
goes dark; jobs fork, raise what they should not and write hostile text; others push what is no job.

``python -m tests.chaos --seed N --kills N`` does it and proves that nothing was lost. The proof
does not rest on the daemons: the server's append-only file holds every change of the data in its
order (:mod:`tests.chaos.history`), the jobs note their own executions in files that no kill can
take back (:mod:`jobctl.chaos.journal`), and :mod:`tests.chaos.verdict` holds the two against each
other and against the list of faults.
"""
