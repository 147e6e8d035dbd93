"""What has kept a push out."""

from __future__ import annotations

from typing import NamedTuple


class Conflict(NamedTuple):
    """The id of the job that holds a lock, and for how many seconds it has."""

    holder: str
    age: float
