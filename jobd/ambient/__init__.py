"""What surrounds code: the time and random numbers, which tests replace; blocks in which something
holds."""
