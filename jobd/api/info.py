"""The Redis server: how it is, and what about it endangers jobs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

from jobd.api.reading import integer
from jobd.api.session import Session
from jobd.store.health import (
    EVICTION_ADVICE,
    PERSISTENCE_ADVICE,
    may_evict,
    memory_short,
    takes_snapshots,
    writes_nothing,
)
from jobd.text.translatable import Text

SLOW = 0.05
"""Seconds; a round trip that takes longer is worth a warning."""


@dataclass(frozen=True, slots=True)
class RedisInfo:
    """The server at one moment.

    Attributes:
        version: of Redis, or of Redis as Valkey speaks it.
        uptime: seconds.
        latency: seconds that a PING took, there and back.
        clients: open connections.
        used_memory, peak_memory, max_memory: bytes; a maximum of 0 is none.
        memory_short: a warning that the server is nearly full, or None; one of the *warnings*.
        eviction_policy: what a full server does.
        keys: keys in this database.
        commands_per_second: all that it does, for everybody.
        snapshots: whether it writes RDB snapshots by itself; None if it does not tell.
        last_save: the last snapshot, seconds since 1970.
        changes_since_save: changes that are in no snapshot.
        save_ok: whether the last snapshot was written.
        append_only: whether it writes the append-only file.
        append_ok: whether the last write to that was well.
        role: ``master`` or ``slave``.
        warnings: sentences for people; none is good.
    """

    version: str
    uptime: int
    latency: float
    clients: int
    used_memory: int
    peak_memory: int
    max_memory: int
    memory_short: str | None
    eviction_policy: str
    keys: int
    commands_per_second: int
    snapshots: bool | None
    last_save: int
    changes_since_save: int
    save_ok: bool
    append_only: bool
    append_ok: bool
    role: str
    warnings: tuple[str, ...]


def info(session: Session) -> RedisInfo:
    """See :meth:`jobd.api.Api.info`."""
    redis = session.redis
    began = time.perf_counter()
    redis.ping()
    latency = time.perf_counter() - began
    found = cast("dict[str, object]", redis.info())
    keys = redis.dbsize()
    facts: dict[str, Any] = {
        "version": str(found.get("valkey_version") or found.get("redis_version", "")),
        "uptime": integer(found.get("uptime_in_seconds")),
        "latency": latency,
        "clients": integer(found.get("connected_clients")),
        "used_memory": integer(found.get("used_memory")),
        "peak_memory": integer(found.get("used_memory_peak")),
        "max_memory": integer(found.get("maxmemory")),
        "memory_short": memory_short(found),
        "eviction_policy": str(found.get("maxmemory_policy", "noeviction")),
        "keys": integer(keys),
        "commands_per_second": integer(found.get("instantaneous_ops_per_sec")),
        "snapshots": takes_snapshots(redis),
        "last_save": integer(found.get("rdb_last_save_time")),
        "changes_since_save": integer(found.get("rdb_changes_since_last_save")),
        "save_ok": found.get("rdb_last_bgsave_status", "ok") == "ok",
        "append_only": bool(integer(found.get("aof_enabled"))),
        "append_ok": found.get("aof_last_write_status", "ok") == "ok",
        "role": str(found.get("role", "")),
    }
    return RedisInfo(**facts, warnings=tuple(_warnings(facts)))


def _warnings(facts: dict[str, Any]) -> list[Text]:
    warnings: list[Text] = []
    if may_evict(facts["eviction_policy"]):
        warnings.append(
            Text(
                "The eviction policy is %(policy)s, so Redis may delete jobs: %(advice)s.",
                policy=facts["eviction_policy"],
                advice=EVICTION_ADVICE,
            )
        )
    if short := facts["memory_short"]:
        warnings.append(short)
    if writes_nothing(facts["snapshots"], append_only=facts["append_only"]):
        warnings.append(PERSISTENCE_ADVICE)
    if not facts["save_ok"]:
        warnings.append(
            Text(
                "The last snapshot of Redis failed; by default it then refuses all writes, new "
                "jobs too. Look into its log (often the disk is full)."
            )
        )
    if not facts["append_ok"]:
        warnings.append(
            Text(
                "Redis cannot write its append-only file. Look into its log (often the disk is "
                "full)."
            )
        )
    if facts["role"] == "slave":
        warnings.append(
            Text("This Redis is a replica: no job can be pushed or run. Connect to the master.")
        )
    if facts["latency"] > SLOW:
        warnings.append(
            Text(
                "A round trip to Redis takes %(taken)s ms; over %(slow)s ms, jobs are claimed "
                "slowly.",
                taken=f"{facts['latency'] * 1000:.0f}",
                slow=f"{SLOW * 1000:.0f}",
            )
        )
    return warnings
