"""What the memory of Redis is used for: bytes by family of keys.

Queues and sets are measured one by one; they can be large, and their names are known. Of all other
keys a random sample is measured, and from it the whole is estimated, with its error. MEMORY USAGE
looks at five elements of a key, so it takes no longer for a large one.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from jobd.api.reading import answers, batches, integer, members, text
from jobd.api.session import Session

SAMPLE = 1_000
"""Keys of the sample."""

MOST_QUEUES = 5_000

QUEUES, OTHERS = "queues", "keys of others"
_SETS = "schedule, retry, dead"
_NAMES = {
    "flight": "jobs in flight",
    "result": "results",
    "lock": "locks of unique jobs",
    "trash": "trash and audit log",
    "periodic": "periodic jobs",
    "batch": "batches",
    "flow": "workflows",
    "metric": "metrics",
    "counter": "counters",
    "other": "other keys of jobd",
    "process": "processes",
}
_FAMILY = re.compile(
    r"(?P<flight>jobd:(?:inflight|claim|waits|cancels|progress):)"
    r"|(?P<result>jobd:result:)"
    r"|(?P<lock>jobd:(?:lock:|contested$))"
    r"|(?P<trash>jobd:(?:trash|audit))"
    r"|(?P<periodic>jobd:periodic)"
    r"|(?P<batch>jobd:batch)"
    r"|(?P<flow>jobd:(?:workflow|steps:|ready:|staged:))"
    r"|(?P<metric>[jh]\|)"
    r"|(?P<counter>(?:jobd:)?stat:)"
    r"|(?P<other>jobd:|queues$|paused$|processes$|process_cleanup$|\d{8}-marks$)"
    r"|(?P<process>[^:]+:\d+:[0-9a-f]+(?::work|:workers|-signals)?$)"
)


@dataclass(frozen=True, slots=True)
class Family:
    """Keys of a kind.

    Attributes:
        keys, size: how many, and their bytes; estimated unless *error* is 0.
        error: of the size, one standard deviation (bytes).
    """

    name: str
    keys: int
    size: int
    error: int


def families(session: Session) -> list[Family]:
    """All families, the largest first. Cost: O(queues), and a few commands for each key of the
    sample, in steps of 100.

    Raises:
        UnavailableError: the server does not answer, or the user may not use MEMORY USAGE or
            RANDOMKEY.
    """
    keys = session.keys
    names = members(session.redis, keys.queues, MOST_QUEUES)
    queues = [keys.queue(text(name)) for name in names]
    sets = [keys.schedule, keys.retry, keys.dead]
    found = [
        _measured(QUEUES, _sizes(session, queues)),
        _measured(_SETS, _sizes(session, sets)),
    ]
    apart = {each.encode() for each in [*queues, *sets]}
    known = sum(each.keys for each in found)
    whole = integer(session.redis.dbsize())
    rest = max(0, whole - known)
    sampled = [key for key in _random(session, min(SAMPLE, 4 * whole)) if key not in apart]
    sizes: dict[str, list[int]] = defaultdict(list)
    for key, size in zip(sampled, _sizes(session, sampled), strict=True):
        if size:
            sizes[family_of(text(key), keys.prefix)].append(size)
    count = sum(map(len, sizes.values()))
    found += [_estimated(name, each, count, rest) for name, each in sizes.items()]
    return sorted((each for each in found if each.keys), key=lambda each: -each.size)


def family_of(key: str, prefix: str) -> str:
    """The family of a key that is no queue and no set.

    >>> family_of("shop:jobd:lock:Mail:1", "shop:"), family_of("session:7", ""), family_of("a", "b")
    ('locks of unique jobs', 'keys of others', 'keys of others')
    >>> family_of("jobd:batches:open", ""), family_of("jobd:steps:order-7", "")
    ('batches', 'workflows')
    """
    if not key.startswith(prefix):
        return OTHERS
    found = _FAMILY.match(key[len(prefix) :])
    return _NAMES[found.lastgroup] if found and found.lastgroup else OTHERS


def _measured(name: str, sizes: Iterable[int]) -> Family:
    there = [size for size in sizes if size]
    return Family(name, len(there), sum(there), 0)


def _estimated(name: str, sizes: list[int], sampled: int, keys: int) -> Family:
    """The sum over *keys* keys of a quantity that is 0 for those of other families: *keys* times
    its mean in the sample, whose error is its deviation by the root of the sample's size (Cochran,
    Sampling Techniques, 2.3)."""
    mean = sum(sizes) / sampled
    variance = max(0.0, sum(size * size for size in sizes) / sampled - mean * mean)
    error = keys * math.sqrt(variance / sampled)
    return Family(name, round(keys * len(sizes) / sampled), round(keys * mean), round(error))


def _random(session: Session, count: int) -> list[bytes]:
    found: list[bytes] = []
    for batch in batches(range(count)):
        with session.redis.pipeline(transaction=False) as pipe:
            for _ in batch:
                pipe.randomkey()
            found += [key for key in answers(pipe) if key is not None]
    return found


def _sizes(session: Session, keys: Iterable[str | bytes]) -> list[int]:
    found: list[int] = []
    for batch in batches(keys):
        with session.redis.pipeline(transaction=False) as pipe:
            for key in batch:
                pipe.memory_usage(key)
            found += map(integer, answers(pipe))
    return found
