"""Tests of the command jobd."""
