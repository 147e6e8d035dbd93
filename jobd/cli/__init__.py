"""The command jobd."""
