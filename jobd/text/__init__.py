"""Texts from and for people: what makes them safe to show, and what they may be called."""
