"""Tests of jobd.store."""
