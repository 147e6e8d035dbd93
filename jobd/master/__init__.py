"""The master: a small single-threaded process that supervises the workers and the keeper.

It imports no application code and has no connection to Redis, so that nothing an application or
a server does can stop it from supervising.
"""
