"""What endangers jobs about a server, for all who look: the keeper, dashboards,
``jobd check``, ``jobctl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobd.text.translatable import Text

EVICTION_ADVICE = Text("set maxmemory-policy noeviction: a full server throws away whole queues")


def may_evict(policy: str) -> bool:
    """Whether a server with this ``maxmemory-policy`` throws keys away when it is full.

    >>> may_evict("allkeys-lru"), may_evict("noeviction")
    (True, False)
    """
    return policy != "noeviction"


NEARLY_FULL = 0.8
"""Share of ``maxmemory`` from which on there is a warning."""


def is_full(info: Mapping[str, object]) -> bool:
    """Whether a server refuses pushes for want of memory, by what it says with ``INFO memory``."""
    used, most = _memory(info)
    return 0 < most <= used


def memory_short(info: Mapping[str, object]) -> Text | None:
    """A warning that a server is full or nearly so, of what it says with ``INFO memory``; else
    None.

    >>> memory_short({"used_memory": 70, "maxmemory": 100}) is None
    True
    >>> str(memory_short({"used_memory": 91, "maxmemory": 100}))[:42]
    'Redis uses 91% of the memory it may have: '
    >>> str(memory_short({"used_memory": 102, "maxmemory": 100}))[:50]
    'Redis is full: it uses 102% of the memory it may h'
    """
    used, most = _memory(info)
    if not most or used < NEARLY_FULL * most:
        return None
    if is_full(info):
        return Text(
            "Redis is full: it uses %(share)s of the memory it may have, and refuses pushes. "
            "Raise maxmemory, add workers, or delete for good what is not needed.",
            share=f"{used / most:.0%}",
        )
    return Text(
        "Redis uses %(share)s of the memory it may have: when it is full, no job can be pushed. "
        "Raise maxmemory, add workers, or delete for good what is not needed.",
        share=f"{used / most:.0%}",
    )


def _memory(info: Mapping[str, Any]) -> tuple[int, int]:
    """What it uses, and what it may; 0 for no limit."""
    most = int(info.get("maxmemory", 0))
    # What replicas and the append-only file are still to get does not count for the server either.
    return int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0)), most
