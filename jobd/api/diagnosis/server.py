"""The checks of a Redis server: what about its settings and its state endangers jobs.

What they look at is gathered with a few commands of constant cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import redis

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.store.health import (
    EVICTION_ADVICE,
    NEARLY_FULL,
    PERSISTENCE_ADVICE,
    is_full,
    may_evict,
    memory_short,
    takes_snapshots,
    writes_nothing,
)
from jobd.text.translatable import Text

SLOW = 0.05
"""Seconds; a round trip that takes longer is worth a warning."""

_MOST_CLIENTS = 0.8
"""Share of ``maxclients``."""

_MOST_OF_HOST = 0.75
"""Share of the memory of the server's host."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server tells about itself.

    Attributes:
        info: what INFO says.
        snapshots: whether it writes RDB snapshots by itself; None if it does not tell.
        latency: seconds of a round trip; None if it was not measured.
    """

    info: Mapping[str, object]
    snapshots: bool | None
    latency: float | None = None

    def integer(self, name: str) -> int:
        """A number that INFO has; 0 if it has none of the name."""
        value = self.info.get(name, 0)
        return int(value) if isinstance(value, int | float) else 0

    @property
    def loading(self) -> bool:
        """Whether it still loads its data, and refuses nearly all commands."""
        return bool(self.integer("loading"))


def gather(client: redis.Redis, *, trips: int = 1) -> ServerFacts:
    """The facts, by INFO, CONFIG GET and so many round trips, of which the fastest counts: the
    others say how busy this host is. A trip is TIME, as a server that cannot write to its disk, or
    loads its data, refuses PING.

    Raises:
        redis.RedisError: the server does not answer, or refuses INFO.
    """
    taken = []
    for _ in range(trips):
        began = time.perf_counter()
        client.time()
        taken.append(time.perf_counter() - began)
    info = cast("dict[str, object]", client.info())
    return ServerFacts(info, takes_snapshots(client), min(taken, default=None))


def _eviction(facts: ServerFacts) -> Iterator[Said]:
    policy = str(facts.info.get("maxmemory_policy", "noeviction"))
    if may_evict(policy):
        yield Said(
            Text(
                "The eviction policy is %(policy)s, so Redis may delete jobs: %(advice)s.",
                policy=policy,
                advice=EVICTION_ADVICE,
            ),
            "redis-cli CONFIG SET maxmemory-policy noeviction, and redis-cli CONFIG REWRITE",
        )


def _full(facts: ServerFacts) -> Iterator[Said]:
    if (short := memory_short(facts.info)) and is_full(facts.info):
        yield Said(short, "jobctl redis shows what uses the memory")


def _nearly_full(facts: ServerFacts) -> Iterator[Said]:
    if (short := memory_short(facts.info)) and not is_full(facts.info):
        yield Said(short, "jobctl redis shows what uses the memory")


def _persistence(facts: ServerFacts) -> Iterator[Said]:
    append_only = bool(facts.integer("aof_enabled"))
    if writes_nothing(facts.snapshots, append_only=append_only):
        yield Said(
            PERSISTENCE_ADVICE,
            "redis-cli CONFIG SET appendonly yes, and redis-cli CONFIG REWRITE",
        )


def _snapshot(facts: ServerFacts) -> Iterator[Said]:
    if facts.info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Said(
            Text(
                "The last snapshot of Redis failed; by default it then refuses all writes, new "
                "jobs too. Look into its log (often the disk is full)."
            ),
            "on its host: df -h; then redis-cli BGSAVE, and redis-cli INFO persistence",
        )


def _append_only_file(facts: ServerFacts) -> Iterator[Said]:
    if facts.info.get("aof_last_write_status", "ok") != "ok":
        yield Said(
            Text(
                "Redis cannot write its append-only file. Look into its log (often the disk is "
                "full)."
            ),
            "on its host: df -h; it goes on by itself when there is room",
        )


def _replica(facts: ServerFacts) -> Iterator[Said]:
    if facts.info.get("role") == "slave":
        yield Said(
            Text("This Redis is a replica: no job can be pushed or run. Connect to the master."),
            "redis-cli INFO replication names the master; where that changes, let Sentinel tell: "
            "redis+sentinel://HOST:PORT/SERVICE/DB",
        )


def _latency(facts: ServerFacts) -> Iterator[Said]:
    if facts.latency is not None and facts.latency > SLOW:
        yield Said(
            Text(
                "A round trip to Redis takes %(taken)s ms; over %(slow)s ms, jobs are claimed "
                "slowly.",
                taken=f"{facts.latency * 1000:.0f}",
                slow=f"{SLOW * 1000:.0f}",
            ),
            "ping its host: if that is as slow, run the workers near Redis; if not, the server is "
            "busy (jobctl redis)",
        )


def _host_memory(facts: ServerFacts) -> Iterator[Said]:
    used, whole = facts.integer("used_memory_rss"), facts.integer("total_system_memory")
    if whole and not facts.integer("maxmemory") and used > _MOST_OF_HOST * whole:
        yield Said(
            f"Redis has no memory limit and uses {used / whole:.0%} of its host's memory: if that "
            "is used up, the kernel kills it.",
            "set maxmemory below the memory of the host, with room for a snapshot",
        )


def _clients(facts: ServerFacts) -> Iterator[Said]:
    here, most = facts.integer("connected_clients"), facts.integer("maxclients")
    if most and here > _MOST_CLIENTS * most:
        yield Said(
            f"{here:,} of at most {most:,} clients are connected; the next ones are refused, "
            "workers too.",
            "redis-cli CLIENT LIST shows who they are; raise maxclients (CONFIG SET maxclients)",
        )


def _refused_clients(facts: ServerFacts) -> Iterator[Said]:
    if count := facts.integer("rejected_connections"):
        yield Said(
            f"Redis has refused {count:,} connections since it started: maxclients was reached.",
            "raise maxclients, or find the clients that open too many (redis-cli CLIENT LIST)",
        )


def _evicted(facts: ServerFacts) -> Iterator[Said]:
    if count := facts.integer("evicted_keys"):
        yield Said(
            f"Redis has evicted {count:,} keys since it started; jobs may be among them.",
            "set maxmemory-policy noeviction, or give jobs a Redis of their own",
        )


def _loading(facts: ServerFacts) -> Iterator[Said]:
    if facts.loading:
        yield Said(
            "Redis is loading its data and refuses everything until it has done so.",
            "wait: redis-cli INFO persistence has loading_eta_seconds",
        )


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

SETTINGS: tuple[Check[ServerFacts], ...] = (
    Check("redis.eviction", _ERROR, "`maxmemory-policy`", _eviction),
    Check("redis.full", _ERROR, "whether memory is used up", _full),
    Check("redis.nearly-full", _WARNING, f"whether {NEARLY_FULL:.0%} of it is used", _nearly_full),
    Check("redis.persistence", _ERROR, "snapshots and append-only file", _persistence),
    Check("redis.snapshot", _ERROR, "the last snapshot", _snapshot),
    Check("redis.append-only", _ERROR, "the last write to that file", _append_only_file),
    Check("redis.replica", _ERROR, "the role of the server", _replica),
)
"""What ``jobd check`` says about a server, too."""

WARNINGS: tuple[Check[ServerFacts], ...] = (
    *SETTINGS,
    Check("redis.latency", _WARNING, f"a round trip of over {SLOW * 1000:.0f} ms", _latency),
)
"""What the dashboard shows."""

CHECKS: tuple[Check[ServerFacts], ...] = (
    *WARNINGS,
    Check("redis.loading", _ERROR, "whether it still loads its data", _loading),
    Check("redis.host-memory", _WARNING, "memory without a limit", _host_memory),
    Check("redis.evicted", _WARNING, "evicted keys", _evicted),
    Check("redis.clients", _WARNING, "connections, of `maxclients`", _clients),
    Check("redis.refused-clients", _WARNING, "refused connections", _refused_clients),
)
