"""The master: a small single-threaded process that supervises the workers and the keeper.

It imports no application code and has no connection to Redis, so neither an application nor a
server can stop it from supervising.
"""
