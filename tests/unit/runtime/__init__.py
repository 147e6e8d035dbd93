"""Tests of jobd.runtime."""
