"""The Redis server: how it is, and what about it endangers jobs."""

from __future__ import annotations

from dataclasses import dataclass

from jobd.api.diagnosis import findings, server
from jobd.api.reading import integer
from jobd.api.session import Session
from jobd.store.health import memory_short


@dataclass(frozen=True, slots=True)
class RedisInfo:
    """The server at one moment.

    Attributes:
        version: of Redis, or of Redis as Valkey speaks it.
        uptime: seconds.
        latency: seconds that a round trip took.
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
    facts = server.gather(session.redis)
    found = facts.info
    keys = session.redis.dbsize()
    return RedisInfo(
        version=str(found.get("valkey_version") or found.get("redis_version", "")),
        uptime=integer(found.get("uptime_in_seconds")),
        latency=facts.latency or 0.0,
        clients=integer(found.get("connected_clients")),
        used_memory=integer(found.get("used_memory")),
        peak_memory=integer(found.get("used_memory_peak")),
        max_memory=integer(found.get("maxmemory")),
        memory_short=memory_short(found),
        eviction_policy=str(found.get("maxmemory_policy", "noeviction")),
        keys=integer(keys),
        commands_per_second=integer(found.get("instantaneous_ops_per_sec")),
        snapshots=facts.snapshots,
        last_save=integer(found.get("rdb_last_save_time")),
        changes_since_save=integer(found.get("rdb_changes_since_last_save")),
        save_ok=found.get("rdb_last_bgsave_status", "ok") == "ok",
        append_only=bool(integer(found.get("aof_enabled"))),
        append_ok=found.get("aof_last_write_status", "ok") == "ok",
        role=str(found.get("role", "")),
        warnings=tuple(each.text for each in findings.run(server.WARNINGS, facts)),
    )
