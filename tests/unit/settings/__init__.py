"""Tests of jobd.settings."""
