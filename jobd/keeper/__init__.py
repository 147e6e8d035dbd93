"""The keeper: the master's helper process for due jobs and dead workers.

It promotes scheduled and retried jobs, renews the leases of the workers, and returns the jobs of
dead workers to their queues. It imports no application code.
"""
