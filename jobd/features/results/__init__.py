"""Results of jobs that keep them (``keep_result``): reading them, and waiting for them."""
