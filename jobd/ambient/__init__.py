"""What code takes from its surroundings, and tests replace: the time, and random numbers."""
