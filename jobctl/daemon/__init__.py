"""What jobctl says to a daemon, found by its pidfile."""
