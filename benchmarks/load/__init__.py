"""What jobs do and how they are counted, and programs that make load."""
