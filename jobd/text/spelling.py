"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

LOOSE, NEAR = 0.6, 0.8
"""Similarity, 0 to 1, that is enough for a suggestion, and for an almost certain one."""


def meant(name: str, known: Iterable[str], alike: float = LOOSE) -> str | None:
    """The name in *known* that is most similar to *name*, ignoring case and with ``-`` read as
    ``_``; None if the similarity of all is below *alike*.

    >>> meant("Retry-Fro", ("retry", "retry_for")), meant("tenant", ("timeout",), NEAR)
    ('retry_for', None)
    """
    return _meant(name, tuple(known), alike)


@lru_cache(1024)  # an application's own field is looked up at each of its pushes
def _meant(name: str, known: tuple[str, ...], alike: float) -> str | None:
    from difflib import get_close_matches  # imported only when a name is unknown

    close = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=alike)
    return close[0] if close else None
