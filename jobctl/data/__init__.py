"""The commands that look at the jobs in Redis and change them."""
