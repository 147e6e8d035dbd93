"""Schedules of periodic jobs: their lines, and what is due when. No I/O."""
