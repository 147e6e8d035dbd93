"""Tests of jobd.text."""
