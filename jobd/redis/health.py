"""What endangers jobs about a server, for all who look: the keeper, dashboards,
``jobd check``, ``jobctl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobd.texts import Text

EVICTION_ADVICE = Text("set maxmemory-policy noeviction: a full server throws away whole queues")


def may_evict(policy: str) -> bool:
    """Whether a server with this ``maxmemory-policy`` throws keys away when it is full.

    >>> may_evict("allkeys-lru"), may_evict("noeviction")
    (True, False)
    """
    return policy != "noeviction"


NEARLY_FULL = 0.8
"""Share of ``maxmemory`` from which on there is a warning."""


def memory_short(info: Mapping[str, Any]) -> Text | None:
    """A warning before a server is full, of what it says with ``INFO memory``; None if it is not.

    >>> memory_short({"used_memory": 70, "maxmemory": 100}) is None
    True
    >>> str(memory_short({"used_memory": 91, "maxmemory": 100}))[:42]
    'Redis uses 91% of the memory it may have: '
    """
    most = int(info.get("maxmemory", 0))
    # What replicas and the append-only file are still to get does not count for the server either.
    used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
    if not most or used < NEARLY_FULL * most:
        return None
    return Text(
        "Redis uses %(share)s of the memory it may have: when it is full, no job can be pushed. "
        "Raise maxmemory, add workers, or delete for good what is not needed.",
        share=f"{used / most:.0%}",
    )
