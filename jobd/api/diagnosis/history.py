"""The checks of what a Redis server has done: its slow log, and how its memory grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.api.diagnosis.server import ServerFacts
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

_LEAST_GROWTH = 0.001
"""Share of ``maxmemory`` by which it must have grown: less says nothing about the next hour."""

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
    """The memory at two moments.

    Attributes:
        seconds: between them.
    """

    before: ServerFacts
    after: ServerFacts
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        grown = self.after.integer("used_memory") - self.before.integer("used_memory")
        return grown / self.seconds if self.seconds > 0 else 0.0


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
    most, used = growth.after.integer("maxmemory"), growth.after.integer("used_memory")
    if not most or used >= most or growth.rate * growth.seconds < _LEAST_GROWTH * most:
        return
    left = (most - used) / growth.rate
    if left < SOON:
        yield Said(
            f"Redis grows by {growth.rate / 1e6:.1f} MB a second: its memory limit is reached in "
            f"{left / 60:.0f} minutes, and then no job can be pushed.",
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
