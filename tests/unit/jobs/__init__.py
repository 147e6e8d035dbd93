"""Tests of jobd.jobs."""
