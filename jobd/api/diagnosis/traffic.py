"""What Redis is asked: by part of jobd, from a bounded sample of MONITOR, and by command, from its
statistics.

MONITOR costs the server time for each command, so the sample ends after :data:`MOST` of them: on a
busy server that is a fraction of a second.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass

import redis
from redis.exceptions import NoPermissionError

from jobd.api.session import Session
from jobd.store import scripts
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack

MOST = 5_000
"""Commands of the sample."""

_BYTES = 400
"""Of a line that are looked at: the rest is payload."""

_LINE = re.compile(rb'[\d.]+ \[\d+ ([^\]]*)\] "([^"\\]*)"(?: "([^"\\]*)")?')

_CLAIMS = ("claim", "file", "register", "release", "give_back", "outcomes")
_ENDS = ("acknowledge", "end", "retry", "bury", "discard", "snooze")
_BEATS = ("beat", "look", "list_work", "progress", "show_stacks", "schedules")
_KEEPER = (
    *("renew", "recover", "promote", "tick", "lead", "depart", "free", "look_later", "trouble"),
    *("mend_batch", "expire_batch", "abandon_batch", "advance", "lose_steps"),
)
_PUSHES = ("push", "lock", "unlock", "add_to_batch", "close_batch", "store_workflow", "add_steps")
_OF_SCRIPTS = {
    **dict.fromkeys(_CLAIMS, "workers: claims"),
    **dict.fromkeys(_ENDS, "workers: ends of jobs"),
    **dict.fromkeys(_BEATS, "workers: heartbeats"),
    **dict.fromkeys(_KEEPER, "keepers"),
    **dict.fromkeys(_PUSHES, "pushes"),
}
_OF_COMMANDS = {
    **dict.fromkeys(("blmove", "client", "exists"), "workers: claims"),
    **dict.fromkeys(("hincrby", "bitfield", "expire"), "workers: heartbeats"),
    **dict.fromkeys(("lpush", "rpush", "sadd", "zadd"), "pushes"),
    **dict.fromkeys(("zrangebyscore", "info"), "keepers"),
}
OTHER_SCRIPTS = "dashboards and jobctl"
OTHERS = "others"
"""What no part of jobd is known by: PING, and other programs."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of jobd in the sample.

    Attributes:
        rate: commands a second.
        error: of the rate, one standard deviation: a sample of n commands is off by the root of n.
    """

    name: str
    commands: int
    rate: float
    error: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was sent to the server, by everybody.

    Attributes:
        seconds: that it took.
        whole: it ended by its time, and not because it was full.
    """

    seconds: float
    whole: bool
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Usage:
    """A command between two looks, those within scripts too.

    Attributes:
        rate: calls a second.
        took: seconds of a call, on average.
        share: of the server's time.
    """

    command: str
    rate: float
    took: float
    share: float


def sample(session: Session, seconds: float) -> Sample | None:
    """A sample of at most so many seconds; None if the user may not use MONITOR.

    Raises:
        redis.RedisError: the server does not answer.
    """
    wire = Wire(session.redis)
    counts = Counter[str]()
    try:
        wire.connect()
        wire.send(pack("MONITOR"))
        wire.read()
        began = time.monotonic()
        end = began + seconds
        while (left := end - time.monotonic()) > 0 and counts.total() < MOST:
            if wire.readable(left) and (part := part_of(bytes(wire.read())[:_BYTES])):
                counts[part] += 1
        taken = time.monotonic() - began
    except NoPermissionError:
        return None
    finally:
        wire.close()
    parts = [
        Part(name, count, count / taken, count**0.5 / taken) for name, count in counts.most_common()
    ]
    return Sample(taken, counts.total() < MOST, parts)


def part_of(line: bytes) -> str:
    """Who has sent a command, by its line of MONITOR; "" for what a script does.

    >>> part_of(b'1.5 [0 unix:/x] "BLMOVE" "queue:a" "b" "RIGHT" "LEFT" "1"')
    'workers: claims'
    >>> part_of(b'1.5 [0 lua] "hset" "a" "b" "c"'), part_of(b'1.5 [0 1.2.3.4:5] "get" "a"')
    ('', 'others')
    """
    found = _LINE.match(line)
    if found is None:
        return OTHERS
    sender, command, first = found.groups()
    if sender == b"lua":
        return ""
    name = command.decode(errors="replace").lower()
    if name == "evalsha":
        script = scripts.name_of((first or b"").decode(errors="replace"))
        return _OF_SCRIPTS.get(script, OTHER_SCRIPTS) if script else OTHERS
    return _OF_COMMANDS.get(name, OTHERS)


def statistics(client: redis.Redis) -> dict[str, tuple[int, int]]:
    """Calls, and microseconds that they took, of each command since the server started."""
    found = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): (int(each["calls"]), int(each["usec"]))
        for name, each in found.items()
        if isinstance(each, dict) and "calls" in each and "usec" in each
    }


def usages(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], seconds: float
) -> list[Usage]:
    """What has been called in between, what took most time first."""
    found = []
    for name, (calls, micros) in after.items():
        calls_before, micros_before = before.get(name, (0, 0))
        count, took = calls - calls_before, (micros - micros_before) / 1e6
        if count > 0 and seconds > 0:
            found.append(Usage(name, count / seconds, took / count, took / seconds))
    return sorted(found, key=lambda each: -each.share)
