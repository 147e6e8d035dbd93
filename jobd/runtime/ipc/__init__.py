"""Communication between the processes of a daemon: messages and shared memory."""
