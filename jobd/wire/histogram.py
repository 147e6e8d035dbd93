"""The format of Sidekiq's metrics: buckets of the histograms, and how long they are kept."""

from __future__ import annotations

BOUNDS = (
    *(20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1_100, 1_700, 2_500, 3_800, 5_750, 8_500),
    *(13_000, 20_000, 30_000, 45_000, 65_000, 100_000, 150_000, 225_000, 335_000),
)
"""Upper bounds of a histogram's buckets, in ms; one more bucket counts everything longer."""

SHORT = 8 * 3600
"""Seconds that data per minute is kept."""

LONG = 72 * 3600
"""Seconds that data per ten minutes is kept."""
