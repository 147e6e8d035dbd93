"""The checks of what a Redis server has done: its slow log, and how its memory grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.api.reading import integer
from jobd.api.session import Session
from jobd.store import scripts
from jobd.text.printable import shortened

RECENT = 3600
"""Seconds: older entries of the slow log are left alone."""

ENTRIES = 64
"""Entries of the slow log that are read, the newest."""

SOON = 3600.0
"""Seconds: a memory that is full sooner, if it grows on like this, is worth a warning."""

LOOKS = 10
"""Looks at the memory, beside the first one."""

_LEAST_GROWTH = 0.001
"""Share of ``maxmemory`` that is growth in any case. Less may be the buffers of connections, which
come and go, and counts only if it was in nearly all looks."""

_NEARLY_ALL = 0.9

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class SlowCall:
    """A command that was slow.

    Attributes:
        at: seconds since 1970, of the server.
        took: seconds.
        command: its name and its first argument; for a script of jobd its name.
    """

    at: int
    took: float
    command: str


@dataclass(frozen=True, slots=True)
class Growth:
    """The memory over some time.

    Attributes:
        most: ``maxmemory``; 0 for no limit.
        seen: moments (s), and the bytes that were used then.
    """

    most: int
    seen: tuple[tuple[float, int], ...]

    @property
    def used(self) -> int:
        """Bytes, in the end."""
        return self.seen[-1][1]

    @property
    def rate(self) -> float:
        """Bytes a second; 0 where it does not surely grow.

        >>> Growth(1_000_000, ((0, 0), (1, 5_000), (2, 10_000))).rate
        5000.0
        >>> Growth(10**9, tuple((at, 5_000 * at) for at in range(11))).rate
        5000.0
        >>> Growth(10**9, tuple((at, 5_000 * (at % 2)) for at in range(11))).rate
        0.0
        """
        (began, first), (ended, last) = self.seen[0], self.seen[-1]
        if last - first >= _LEAST_GROWTH * self.most:
            return (last - first) / (ended - began)
        steps = [
            (after - before) / (till - since)
            for (since, before), (till, after) in pairwise(self.seen)
        ]
        grew = sum(step > 0 for step in steps)
        return median(steps) if grew >= _NEARLY_ALL * LOOKS else 0.0


def watch(session: Session, seconds: float) -> Growth:
    """Look at the memory for so many seconds."""
    began = time.monotonic()
    client, most, seen = session.redis, 0, []
    for look in range(LOOKS + 1):
        time.sleep(max(0.0, began + seconds * look / LOOKS - time.monotonic()))
        found = client.info("memory")
        most = integer(found.get("maxmemory"))
        seen.append((time.monotonic(), integer(found.get("used_memory"))))
    return Growth(most, tuple(seen))


def slow_calls(session: Session) -> list[SlowCall]:
    """The newest entries of the slow log; one command.

    Raises:
        RefusedError: the user has no permission for ``SLOWLOG GET``.
    """
    entries = session.redis.slowlog_get(ENTRIES)
    return [
        SlowCall(
            integer(entry["start_time"]), integer(entry["duration"]) / 1e6, _named(entry["command"])
        )
        for entry in entries
    ]


def _named(command: bytes) -> str:
    # Never more than the beginning: the rest may be a job.
    name, first, *_ = [*command.split(b" ", 2), b"", b""]
    said = f"{name.decode(errors='replace').upper()} {first.decode(errors='replace')}".rstrip()
    if said.startswith("EVALSHA "):
        digest = said.split()[1]
        script = scripts.name_of(digest)
        return f"jobd's script {script}" if script else f"EVALSHA {shortened(digest, _LONGEST)}"
    return shortened(said, _LONGEST)


def _slow_log(session: Session) -> Iterator[Said]:
    now, _ = session.redis.time()
    recent = [call for call in slow_calls(session) if call.at > now - RECENT]
    if recent:
        worst = max(recent, key=lambda call: call.took)
        many = f"{len(recent)} commands" if len(recent) > 1 else "1 command"
        yield Said(
            f"The slow log has {many} of the last hour; the slowest took {worst.took * 1000:.0f} "
            f"ms: {worst.command}. Everybody waits meanwhile.",
            "redis-cli SLOWLOG GET shows them, and who sent them; avoid KEYS and large ranges, "
            "and let Redis have a CPU of its own",
        )


def _forecast(growth: Growth) -> Iterator[Said]:
    most, used, rate = growth.most, growth.used, growth.rate
    if rate and used < most < used + SOON * rate:
        yield Said(
            f"Redis grows by {rate / 1e6:.2g} MB a second: its memory limit is reached in "
            f"{(most - used) / rate / 60:.0f} minutes, and then no job can be pushed.",
            "jobctl redis shows what grows; add workers, or raise maxmemory",
        )


CHECKS: tuple[Check[Session], ...] = (
    Check("redis.slow-log", Severity.WARNING, "the slow log of the last hour", _slow_log),
)

FORECASTS: tuple[Check[Growth], ...] = (
    Check(
        "redis.forecast",
        Severity.WARNING,
        "whether memory will be used up within an hour, as it grows now",
        _forecast,
    ),
)
