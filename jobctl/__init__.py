"""jobctl: the operator's tool for a running jobd."""
