"""``jobctl doctor``: what is wrong, on this host, in Redis and in the fleet, and what to do; and
``jobctl redis``."""
