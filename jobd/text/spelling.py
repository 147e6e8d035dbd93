"""Which known name somebody meant who has written another one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

LOOSE, NEAR = 0.6, 0.8
"""How alike two names are, from 0 to 1: for a guess; and for one that is hardly wrong."""


def meant(name: str, known: Iterable[str], alike: float = LOOSE) -> str | None:
    """The name among *known* that is most like *name*, in whatever case and with ``-`` for ``_``;
    None if none of them is that much *alike*.

    >>> meant("Retry-Fro", ("retry", "retry_for")), meant("tenant", ("timeout",), NEAR)
    ('retry_for', None)
    """
    return _meant(name, tuple(known), alike)


@lru_cache(1024)  # a field of the application's own comes with each of its pushes
def _meant(name: str, known: tuple[str, ...], alike: float) -> str | None:
    from difflib import get_close_matches  # only those who mistype pay for it

    close = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=alike)
    return close[0] if close else None
