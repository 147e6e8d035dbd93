"""The command ``jobd``."""
