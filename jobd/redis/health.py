"""What endangers jobs about a server, for all who look: the keeper, dashboards, ``jobctl``."""

from __future__ import annotations

from jobd.texts import Text

EVICTION_ADVICE = Text("set maxmemory-policy noeviction: a full server throws away whole queues")


def may_evict(policy: str) -> bool:
    """Whether a server with this ``maxmemory-policy`` throws keys away when it is full.

    >>> may_evict("allkeys-lru"), may_evict("noeviction")
    (True, False)
    """
    return policy != "noeviction"
