"""Settings: what there are, where they come from, and what they may be."""
