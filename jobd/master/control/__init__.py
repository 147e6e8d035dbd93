"""The control socket: serves the requests of jobctl."""
