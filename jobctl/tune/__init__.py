"""``jobctl tune``: whether the jobs of a running daemon compute or wait, and what other numbers of
workers and threads would do."""
