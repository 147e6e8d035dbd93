"""What may hang on a job, a package for each; the names are exported by :mod:`jobd`."""
