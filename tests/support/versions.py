"""What does not fit together where the lowest versions of jobd's dependencies are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

_CLIENT = {"celery": "kombu"}
"""Which distribution of a tool talks to Redis, if another one does."""


def is_older(distribution: str, than: str) -> bool:
    """Whether an older version than *than* is installed."""
    return Version(version(distribution)) < Version(than)


def unfit(tool: str) -> str:
    """Which redis-py *tool* needs, if that is not here; otherwise empty."""
    try:
        lines = requires(_CLIENT.get(tool, tool)) or ()
    except PackageNotFoundError:
        return ""
    for line in lines:
        needed = Requirement(line)
        if needed.name != "redis" or (
            needed.marker and not needed.marker.evaluate({"extra": "redis"})
        ):
            continue
        if version("redis") not in needed.specifier:
            return f"{tool} needs redis{needed.specifier}; {version('redis')} is here"
    return ""


def need(tool: str) -> None:
    """Skip the test where *tool* is not installed, or does not fit redis-py."""
    pytest.importorskip(tool, reason=f"{tool} is not installed; it is in the extra bench")
    if reason := unfit(tool):
        pytest.skip(reason)
