"""Text handling: escaping, truncation, masking of passwords, suggestions, translatable texts."""
