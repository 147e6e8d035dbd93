"""Settings of jobd: definitions, sources, validation."""
