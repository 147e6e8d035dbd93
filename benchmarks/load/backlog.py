"""A large installation, for the dashboard to show: what a bad night leaves in Redis.

A million queued jobs, most of them in one queue; retries and dead jobs with their errors and
backtraces; scheduled jobs; two hundred processes that beat and work; metrics of three days, an
audit log and a trash. All of it is written as the parts of jobd write it, but in bulk.
"""

from __future__ import annotations

import base64
import datetime
import json
import random
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis as redis_py

from jobd.api import Api
from jobd.store.keys import Keys
from jobd.wire.histogram import BOUNDS

QUEUE = "default"
"""The queue with most of the jobs; the others are ``mail-00``, ``mail-01`` …"""

STASH = "stash:"
"""Before the names of copies, from which :func:`lay_out` puts back what was changed."""

NEEDLE = "customer-4711@example.org"
"""What stands in one job of :data:`QUEUE`, in its middle, in one retry and in one dead job."""

CLIENT = "bench"
"""Name of our own connections, whose commands are not the dashboard's."""

KEYS = Keys()

_AT_ONCE = 1_000
_CLASSES = [
    f"shop.{place}.{verb}_{what}"
    for place in ("mail", "payments", "images", "search", "reports")
    for verb in ("send", "build")
    for what in ("invoice", "receipt", "reminder", "preview", "statement")
]
_ERRORS = (
    ("TimeoutError", "the payment gateway did not answer within %d ms", "shop/payments.py", 8),
    ("ConnectionError", "502 from api.pay.example for order %d", "shop/payments.py", 5),
    ("ValueError", "cannot identify image file 'upload/%d.tiff'", "shop/images.py", 3),
    ("smtplib.SMTPServerDisconnected", "connection %d unexpectedly closed", "shop/mail.py", 2),
    ("KeyError", "'customer-%d'", "shop/reports.py", 1),
)
_TAGS = (b"", b"", b',"tags":["eu"]', b',"tags":["eu","vip"]', b',"tags":["tenant-7","nightly"]')


@dataclass(frozen=True)
class Sizes:
    """How much of everything. *others* are queues besides the large one."""

    queued: int = 1_000_000
    others: int = 30
    set: int = 100_000
    processes: int = 200
    threads: int = 10
    classes: int = 50
    audit: int = 10_000

    @property
    def large(self) -> int:
        """Jobs in :data:`QUEUE`."""
        return self.queued - self.others * (self.queued // 1_000)


SMALL = Sizes(queued=100_000, set=10_000, audit=1_000)


def connect(url: str) -> redis_py.Redis:
    """A connection of ours."""
    return redis_py.Redis.from_url(url, protocol=2, client_name=CLIENT)


def build(redis: redis_py.Redis, url: str, sizes: Sizes) -> None:
    """Write everything, and the copies. Takes about half a minute."""
    chance = random.Random(4711)
    for key, jobs in _queues(sizes):
        payloads = queued(chance, key.removeprefix("queue:"), jobs)
        for batch in _batches(payloads, jobs):
            redis.lpush(key, *batch)
    now = time.time()
    spans = {"schedule": (0, 7 * 86400), "retry": (0, 8 * 3600), "dead": (-86400 * 60, 0)}
    for name, (first, last) in spans.items():
        payloads = _failed(chance) if name != "schedule" else queued(chance, "mail-01", sizes.set)
        for batch in _batches(payloads, sizes.set):
            redis.zadd(name, {raw: now + chance.uniform(first, last) for raw in batch})
    redis.sadd("queues", *(key.removeprefix("queue:") for key, _ in _queues(sizes)))
    redis.sadd("paused", "mail-03")
    for key in _kept(sizes):
        redis.copy(key, STASH + key)
    _count(redis, chance, sizes)
    _act(redis, url, sizes)


def lay_out(redis: redis_py.Redis, sizes: Sizes) -> None:
    """Put the queues and the sets back as they were after :func:`build`."""
    redis.delete("dead")
    for key in _kept(sizes):
        redis.copy(STASH + key, key, replace=True)
    redis.sadd("queues", *(key.removeprefix("queue:") for key, _ in _queues(sizes)))


# --- jobs -------------------------------------------------------------------------------------


def _queues(sizes: Sizes) -> list[tuple[str, int]]:
    small = [(f"queue:mail-{at:02}", sizes.queued // 1_000) for at in range(sizes.others)]
    return [(f"queue:{QUEUE}", sizes.large), *small]


def _kept(sizes: Sizes) -> list[str]:
    return [*(key for key, _ in _queues(sizes)), "schedule", "retry", "dead"]


def _batches(payloads: Iterator[bytes], jobs: int) -> Iterator[list[bytes]]:
    """So many jobs in batches, with the needle in the one in the middle."""
    for first in range(0, jobs, _AT_ONCE):
        batch = [next(payloads) for _ in range(min(_AT_ONCE, jobs - first))]
        if first <= jobs // 2 < first + len(batch):
            batch[jobs // 2 - first] = batch[jobs // 2 - first].replace(
                b'"ada@example.org"', f'"{NEEDLE}"'.encode()
            )
        yield batch


def queued(chance: random.Random, queue: str, jobs: int) -> Iterator[bytes]:
    """So many jobs of a queue, the first one is the oldest."""
    now = time.time()
    form = (
        b'{"class":"%s","args":[%d,"ada@example.org",{"amount":%d,"currency":"EUR"}],"retry":true,'
        b'"queue":"%s","jid":"%024x","created_at":%.6f,"enqueued_at":%.6f%s}'
    )
    classes, name = [each.encode() for each in _CLASSES], queue.encode()
    # Two hours of them, the first one is the oldest.
    for at in range(jobs):
        began = now - 7200 * (1 - at / jobs)
        number = chance.getrandbits(32)
        tags = _TAGS[number % len(_TAGS)]
        jid = number << 64 | chance.getrandbits(64)
        about = (number % 99_991, number % 9_973, name, jid, began, began, tags)
        yield form % (classes[number % len(classes)], *about)


def _failed(chance: random.Random) -> Iterator[bytes]:
    now = time.time()
    weights = [weight for *_, weight in _ERRORS]
    traces = [[_trace(file, at) for at in range(4)] for _, _, file, _ in _ERRORS]
    while True:
        error = chance.choices(range(len(_ERRORS)), weights)[0]
        name, message, _, _ = _ERRORS[error]
        failed = now - chance.uniform(600, 86400)
        job: dict[str, Any] = {
            "class": chance.choice(_CLASSES),
            "args": [chance.randrange(99_991), "ada@example.org", {"amount": 4200}],
            "retry": True,
            "queue": f"mail-{chance.randrange(30):02}",
            "jid": f"{chance.getrandbits(96):024x}",
            "created_at": failed - 60,
            "enqueued_at": failed - 30,
            "tags": ["eu", "vip"],
            "error_class": name,
            "error_message": message % chance.randrange(9_999),
            "error_backtrace": chance.choice(traces[error]),
            "failed_at": failed,
            "retried_at": now - chance.uniform(0, 600),
            "retry_count": chance.randrange(25),
        }
        yield json.dumps(job, separators=(",", ":")).encode()


def _trace(file: str, at: int) -> str:
    """The backtrace of a failure, as it is stored."""
    library = [f"/usr/lib/python3.11/site-packages/http/{n}.py:{90 + n}:in send" for n in range(12)]
    lines = [*library, f"{file}:{30 + at}:in deliver", f"shop/jobs.py:{10 + at}:in perform"]
    return base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()


# --- what was counted, and what people have done ------------------------------------------------


def _count(redis: redis_py.Redis, chance: random.Random, sizes: Sizes) -> None:
    """The totals, those of the days, and the metrics of three days."""
    today = datetime.datetime.now(datetime.UTC).date()
    pipe: Any = redis.pipeline(transaction=False)
    for back in range(180):
        day = (today - datetime.timedelta(days=back)).isoformat()
        pipe.set(KEYS.processed_on(day), chance.randrange(10**6, 2 * 10**6))
        pipe.set(KEYS.failed_on(day), chance.randrange(10**4))
    pipe.set(KEYS.processed, 270 * 10**6)
    pipe.set(KEYS.failed, 10**6)
    names = _CLASSES[: sizes.classes]
    now = time.time()
    for step, count, key in (
        (60, 480, KEYS.metrics_minute),
        (600, 432, KEYS.metrics_ten_minutes),
    ):
        for at in (now - step * back for back in range(count)):
            fields = {
                f"{name}|{letter}": chance.randrange(1, most)
                for name in names
                for letter, most in (("p", 900), ("f", 9), ("ms", 90_000))
            }
            pipe.hset(key(at), mapping=fields)
    pipe.execute()
    buckets = len(BOUNDS) + 1
    for name in names:
        for at in (now - 60 * back for back in range(480)):
            counts = (chance.randrange(40) for _ in range(buckets))
            pipe.set(KEYS.metrics_histogram(name, at), struct.pack(f">{buckets}H", *counts))
        pipe.execute()


def _act(redis: redis_py.Redis, url: str, sizes: Sizes) -> None:
    """The audit log and the trash."""
    pipe: Any = redis.pipeline(transaction=False)
    for at in range(sizes.audit):
        ref = f"{1_000_000 + at:x}-{at:08x}"
        about = {"id": ref, "who": "ada", "action": "retry", "target": "retry", "jobs": at % 900}
        pipe.xadd(KEYS.audit, about)
    pipe.execute()
    ada = Api(url).acting_as("ada")
    for at in range(30):
        queue = f"old-{at:02}"
        jobs = queued(random.Random(at), queue, 100)
        redis.lpush(f"queue:{queue}", *jobs)
        ada.queue(queue).clear()
