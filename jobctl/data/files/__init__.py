"""Jobs in files: writing them there, and reading them back."""
