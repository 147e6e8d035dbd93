"""What calls of jobs are composed to: signatures, chains, groups and chords."""
