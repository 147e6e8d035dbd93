"""Commands for what hangs on jobs, and for what pushes them."""
