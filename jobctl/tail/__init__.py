"""``jobctl tail``: what happens to jobs, line by line."""
