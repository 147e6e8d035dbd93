"""Tests of jobd.testing."""
