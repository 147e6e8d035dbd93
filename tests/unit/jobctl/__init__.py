"""Tests of jobctl."""
