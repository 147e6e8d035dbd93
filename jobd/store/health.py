"""Server settings and states that endanger jobs, as the keeper, the dashboard, ``jobd check`` and
``jobctl`` report them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import redis

from jobd.errors import RefusedError
from jobd.text.translatable import Text

EVICTION_ADVICE = Text("set maxmemory-policy noeviction: a full server evicts whole queues")


def may_evict(policy: str) -> bool:
    """Whether a server with this ``maxmemory-policy`` may evict jobs when its memory is full.

    >>> may_evict("allkeys-lru"), may_evict("noeviction")
    (True, False)
    """
    return policy != "noeviction"


PERSISTENCE_ADVICE = Text(
    "Redis writes nothing to disk: when it restarts all jobs are lost. Set appendonly yes."
)


def takes_snapshots(client: redis.Redis) -> bool | None:
    """Whether the server takes snapshots by itself; None if it does not tell, as hosted ones."""
    try:
        found = cast("dict[str, object]", client.config_get("save"))
    except (RefusedError, redis.ResponseError):
        return None
    return bool(found["save"]) if "save" in found else None


def writes_nothing(snapshots: bool | None, *, append_only: bool) -> bool:
    """Whether the server surely keeps nothing on disk.

    >>> writes_nothing(False, append_only=False), writes_nothing(None, append_only=False)
    (True, False)
    """
    return snapshots is False and not append_only


NEARLY_FULL = 0.8
"""Share of ``maxmemory`` from which a warning is given."""


def is_full(info: Mapping[str, object]) -> bool:
    """Whether a server refuses pushes because its memory is full, according to ``INFO memory``."""
    used, most = _memory(info)
    return 0 < most <= used


def memory_short(info: Mapping[str, object]) -> Text | None:
    """A warning that a server is full or nearly full, according to ``INFO memory``; else None.

    >>> memory_short({"used_memory": 70, "maxmemory": 100}) is None
    True
    >>> str(memory_short({"used_memory": 91, "maxmemory": 100}))[:42]
    'Redis uses 91% of its memory limit; when i'
    >>> str(memory_short({"used_memory": 102, "maxmemory": 100}))[:50]
    'Redis is full: it uses 102% of its memory limit an'
    """
    used, most = _memory(info)
    if not most or used < NEARLY_FULL * most:
        return None
    if is_full(info):
        return Text(
            "Redis is full: it uses %(share)s of its memory limit and refuses pushes. "
            "Raise maxmemory, add workers, or delete jobs for good that are not needed.",
            share=f"{used / most:.0%}",
        )
    return Text(
        "Redis uses %(share)s of its memory limit; when it is full, no job can be pushed. "
        "Raise maxmemory, add workers, or delete jobs for good that are not needed.",
        share=f"{used / most:.0%}",
    )


def _memory(info: Mapping[str, Any]) -> tuple[int, int]:
    """Memory used, and the limit; 0 for no limit."""
    most = int(info.get("maxmemory", 0))
    # The server itself does not count the buffers of replicas and of the append-only file.
    return int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0)), most
