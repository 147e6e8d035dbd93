"""What is pushed, in which order, and how each job is to end: everything drawn from one seed.

Every job has a token of 24 digits in its bytes, whatever becomes of them: as its jid, or elsewhere
in a payload that has none.
"""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.chaos.misdeeds import RAISED, STARTED, TEXTS, VALID

QUEUES = ("high", "default", "low")

PATIENT = 80.0
"""Seconds for which a job runs that is to be cancelled: longer than faults last, shorter than the
patience of a run."""


class Fate(enum.Enum):
    """How a job is to end."""

    DONE = "executed to its end, and gone"
    DISCARDED = "failed, and gone"
    DEAD = "failed, and in the dead set"
    UNREAD = "in the dead set, never executed"
    EITHER = "executed to its end and gone, or in the dead set"
    IN_TIME = "executed to its end, or expired, and gone"
    CANCELLED = "cancelled, and gone"
    PATIENT = "cancelled, or executed to its end before that, and gone"


Odd = tuple[Fate, dict[str, Any] | bytes]
"""How it is to end, and what is pushed: by our client, or as it is."""


class Push(NamedTuple):
    """One push.

    Attributes:
        item: for :meth:`jobd.Client.push`, or for ``push_bulk`` where *token* is empty.
        raw: bytes that go into Redis as they are, where there is no *item*.
        delay: seconds until it is due; None for at once.
    """

    token: str
    queue: str
    fate: Fate = Fate.DONE
    item: dict[str, Any] | None = None
    raw: bytes = b""
    delay: float | None = None


def token(producer: int, number: int) -> str:
    """
    >>> token(1, 23)
    '100100000000000000000023'
    """
    return f"{producer + 1000}{number:020}"


def pushes(seed: int, producer: int) -> Iterator[Push]:
    """The endless sequence of one producer; the first one begins with every odd job once.

    >>> from itertools import islice
    >>> list(islice(pushes(7, 0), 99)) == list(islice(pushes(7, 0), 99))
    True
    """
    chance = random.Random(f"{seed}.{producer}")
    numbers = itertools.count()
    if not producer:
        for odd in itertools.chain(*ODD):
            yield _odd(odd, token(producer, next(numbers)), chance.choice(QUEUES), chance)
    for number in numbers:
        yield _one(chance, token(producer, number))


def _one(chance: random.Random, token: str) -> Push:
    queue = chance.choice(QUEUES)
    duration = chance.choices([0, 5, 50, 400, 2500], [40, 30, 20, 9, 1])[0]
    kind = chance.random()
    if kind < 0.25:
        calls = [[chance.choice([0, 1, 5, 20])] for _ in range(chance.randrange(2, 60))]
        return Push("", queue, item={"class": "work", "args": calls, "queue": queue})
    if kind < 0.35:
        return _odd(chance.choice(chance.choice(ODD)), token, queue, chance)
    fate, delay = Fate.DONE, None
    item: dict[str, Any] = {"class": "work", "args": [duration], "queue": queue, "jid": token}
    if kind < 0.53:
        delay = chance.uniform(0.2, 8)
    elif kind < 0.6:
        item |= {"class": "flaky", "args": [duration, 1]}
    elif kind < 0.63:
        item |= {"class": "doomed", "retry": 0}
        fate = Fate.DEAD
    elif kind < 0.66:
        item["class"] = "unwanted"
        fate = Fate.DISCARDED
    elif kind < 0.72:
        item |= {"unique": True, "keep_result": 60}
    elif kind < 0.75:
        item |= {"class": "flaky", "args": [duration, 1], "unique": True}
    elif kind < 0.77:
        item |= {"class": "doomed", "retry": 0, "unique": True, "keep_result": 60}
        fate = Fate.DEAD
    elif kind < 0.8:
        item["expires_in"] = chance.uniform(0.05, 2)
        fate = Fate.IN_TIME
    elif kind < 0.84:
        item |= {"class": "sleepy", "args": [duration, chance.choice([0, 0.2])], "unique": True}
    elif kind < 0.87:
        item |= {"class": "rests", "keep_result": 60}
    elif kind < 0.89:
        item |= {"class": chance.choice(["patient", "patient_async"]), "args": [PATIENT]}
        item |= chance.choice([{}, {"unique": True}, {"keep_result": 60}])
        delay, fate = chance.choice([None, None, 3.0]), Fate.PATIENT
    return Push(token, queue, fate, item, delay=delay)


def _odd(odd: Odd, token: str, queue: str, chance: random.Random) -> Push:
    fate, what = odd
    if isinstance(what, dict):
        return Push(token, queue, fate, {**what, "queue": queue, "jid": token})
    raw = what.replace(b"TOKEN", token.encode()).replace(b"QUEUE", queue.encode())
    delay = chance.uniform(0.2, 8) if chance.random() < 0.3 else None
    return Push(token, queue, fate, raw=raw, delay=delay)


def _nested(depth: int) -> bytes:
    args = b"[" * depth + b"]" * depth
    return b'{"jid":"TOKEN","class":"swallow","retry":0,"args":' + args + b"}"


FOREIGN: dict[str, Odd] = {
    "of Sidekiq 6": (
        Fate.DONE,
        b'{"retry":true,"queue":"QUEUE","class":"work","args":[5],"jid":"TOKEN",'
        b'"created_at":1795421860.93,"enqueued_at":1795421863.94}',
    ),
    "of Sidekiq 8": (
        Fate.DONE,
        b'{"retry":true,"queue":"QUEUE","args":[5],"wrapped":"Mail","class":"work",'
        b'"cattr":{"user":null},"locale":"de","jid":"TOKEN","created_at":1795421860930,'
        b'"enqueued_at":1795421863940}',
    ),
    "args null": (Fate.DONE, b'{"class":"swallow","args":null,"jid":"TOKEN"}'),
    "no args": (Fate.DONE, b'{"class":"swallow","jid":"TOKEN"}'),
    "kwargs null": (Fate.DONE, b'{"class":"work","args":[5],"kwargs":null,"jid":"TOKEN"}'),
    "all null": (
        Fate.DONE,
        b'{"class":"work","args":[5],"jid":"TOKEN","retry":null,"queue":null,"at":null,'
        b'"created_at":null,"enqueued_at":null,"retry_count":null,"tags":null,"backtrace":null}',
    ),
    "jid null": (Fate.DONE, b'{"class":"work","args":[5],"jid":null,"mark":"TOKEN"}'),
    "jid a number": (Fate.DONE, b'{"class":"work","args":[5],"jid":4711,"mark":"TOKEN"}'),
    "no jid": (Fate.DONE, b'{"class":"work","args":[5],"mark":"TOKEN"}'),
    "nested": (Fate.DONE, _nested(50)),
    "nested too deeply": (Fate.EITHER, _nested(100_000)),
    "half a pair": (
        Fate.EITHER,
        rb'{"jid":"TOKEN","class":"swallow","retry":0,"args":["\ud800"]}',
    ),
    "class unknown": (Fate.UNREAD, b'{"jid":"TOKEN","class":"Nothing","args":[],"retry":0}'),
    "class a number": (Fate.UNREAD, b'{"jid":"TOKEN","class":7,"args":[],"retry":0}'),
    "args an object": (Fate.DONE, b'{"jid":"TOKEN","class":"swallow","args":{},"retry":0}'),
    "list": (Fate.UNREAD, b'["TOKEN"]'),
    "text": (Fate.UNREAD, b'"TOKEN"'),
    "number": (Fate.UNREAD, b"TOKEN"),
    "no JSON": (Fate.UNREAD, b"this is TOKEN, and no JSON"),
    "half of it": (Fate.UNREAD, b'{"jid":"TOKEN","class":"work","args":[5'),
    "no UTF-8": (Fate.UNREAD, b'\xff\xfe\x00 {"jid":"TOKEN"}'),
}
"""Bytes that others may push, and what is to become of them, by name."""

_RAISES = [
    {"class": name, "args": [what]} for name in ("raises", "raises_async") for what in RAISED
]

ODD: list[list[Odd]] = [
    [(Fate.DONE, {"class": "forks", "args": [how]}) for how in STARTED],
    [(Fate.DONE, item) for item in _RAISES],
    [(Fate.DEAD, {**item, "retry": 0}) for item in _RAISES],
    [
        (Fate.DONE, {"class": "awaits", "args": []}),
        (Fate.DEAD, {"class": "lazy", "args": [], "retry": 0}),
    ],
    [
        *((Fate.DONE, {"class": "speaks", "args": [text]}) for text in TEXTS),
        *((Fate.DONE, {"class": "swallow", "args": [TEXTS[text]]}) for text in VALID),
    ],
    list(FOREIGN.values()),
]
"""Jobs that do what they should not, or that no client of ours has made, by kind."""
