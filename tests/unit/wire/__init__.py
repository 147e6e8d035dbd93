"""Tests of jobd.wire."""
