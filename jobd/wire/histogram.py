"""The form of Sidekiq's metrics, for those who write them and those who read them."""

from __future__ import annotations

BOUNDS = (
    *(20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1_100, 1_700, 2_500, 3_800, 5_750, 8_500),
    *(13_000, 20_000, 30_000, 45_000, 65_000, 100_000, 150_000, 225_000, 335_000),
)
"""Upper bounds of the buckets of a histogram, ms; one more bucket has what is longer."""

SHORT = 8 * 3600
"""Seconds that a minute is kept."""

LONG = 72 * 3600
"""Seconds that ten minutes are kept."""
