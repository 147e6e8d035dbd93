"""Communication of jobctl with a daemon, which is found by its pidfile."""
