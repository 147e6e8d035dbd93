"""The log: from the call to the file."""
