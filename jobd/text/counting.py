"""Counts in English texts that are not translated; those that are: :meth:`Text.counted`."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """
    >>> counted(1, "job"), counted(2000, "job")
    ('1 job', '2,000 jobs')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
