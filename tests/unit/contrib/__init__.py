"""Tests of jobd.contrib."""
