"""``jobctl chaos``: daemons of its own work on the user's Redis, under a prefix of its own, while
their processes and connections are killed at random; in the end it proves that nothing was lost.

The jobs note their executions in files that no kill can take back (:mod:`jobctl.chaos.app`). What
was pushed, what was noted, and what is left in Redis are held against each other
(:mod:`jobctl.chaos.verdict`). jobd's own tests do the same with a server that they may kill, too.
"""
