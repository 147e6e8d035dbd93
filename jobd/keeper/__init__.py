"""The keeper: the master's helper process for everything that is due, dead or lost.

It promotes scheduled and retried jobs, vouches for the leases of the workers, and returns the
jobs of dead workers to their queues. It imports no application code.
"""
