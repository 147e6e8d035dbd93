"""Tests of jobd.master."""
