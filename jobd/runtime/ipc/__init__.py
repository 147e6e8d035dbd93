"""What the processes of one daemon say to each other: messages, and shared memory."""
