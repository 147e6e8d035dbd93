"""Tests of jobd.worker."""
