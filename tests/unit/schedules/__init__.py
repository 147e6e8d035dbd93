"""Tests of jobd.schedules."""
