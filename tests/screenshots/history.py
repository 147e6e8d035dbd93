"""What the shop has done before: days of counters, hours of metrics, failures, a schedule.

All of it is written by jobd itself, at other times of the clock where that matters, so that the
pictures show nothing that could not be.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import random
import time
import zlib
from dataclasses import dataclass
from typing import Any

import time_machine

from jobd import Batch, Client
from jobd.api import Api
from jobd.worker.metrics import Metrics

_DAYS = 180
_ADDRESSES = ("ada@example.org", "grace@example.net", "alan@example.com")


@dataclass(frozen=True)
class Kind:
    """One job of the shop.

    Attributes:
        rate: executions a minute, at this time of day.
        seconds: the median of what one takes.
        failing: share that fails.
    """

    name: str
    rate: float
    seconds: float
    failing: float


_KINDS = (
    Kind("shop.capture_payment", 240, 0.21, 0.05),
    Kind("shop.send_receipt", 300, 0.08, 0.002),
    Kind("shop.resize_image", 310, 0.5, 0.02),
    Kind("shop.reindex", 180, 0.16, 0.0),
    Kind("shop.nightly_report", 0.02, 140.0, 0.1),
)


@dataclass(frozen=True)
class Failure:
    """A way in which jobs of the shop have failed; *often* is its weight."""

    job: str
    queue: str
    error: str
    message: str
    trace: tuple[str, ...]
    often: int


_FAILURES = (
    Failure(
        *("shop.capture_payment", "critical", "shop.GatewayError"),
        "502 from api.pay.example, charge of {:.2f} not captured",
        ("shop.py:27:in capture_payment", "shop.py:21:in _ask_the_bank"),
        6,
    ),
    Failure(
        *("shop.resize_image", "images", "ValueError"),
        "cannot identify image file 'upload/{:.0f}.tiff'",
        ("shop.py:39:in resize_image",),
        3,
    ),
    Failure(
        *("shop.send_receipt", "mail", "smtplib.SMTPServerDisconnected"),
        "Connection unexpectedly closed",
        ("shop.py:32:in send_receipt", "smtplib.py:405:in getreply"),
        1,
    ),
)


def write(api: Api) -> None:
    """Write all of it."""
    _days(api)
    _metrics(api)
    _failed(api)
    _planned(api)
    _waiting(api)
    _batches(api)
    api.deploys.mark("4f1c2ab Round amounts only once", time.time() - 5.2 * 3600)
    api.deploys.mark("9d03e71 New image pipeline", time.time() - 0.6 * 3600)


def _days(api: Api) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    with api.redis.pipeline() as pipe:
        for back in range(_DAYS):
            day = today - datetime.timedelta(days=back)
            weekend = 0.45 if day.weekday() > 4 else 1
            done = int(random.gauss(1_050_000, 60_000) * weekend * (1 - back / 400))
            failed = int(done * (0.09 if back == 12 else random.uniform(0.004, 0.012)))
            pipe.incrby(api.keys.processed_on(str(day)), done)
            pipe.incrby(api.keys.failed_on(str(day)), failed)
            pipe.incrby(api.keys.processed, done)
            pipe.incrby(api.keys.failed, failed)
        pipe.execute()


def _metrics(api: Api) -> None:
    """By ten minutes for three days, by minute for the last eight hours; with this minute."""
    now = time.time()
    moments = [(now - 600 * back, 10) for back in range(49, 432)]
    moments += [(now - 60 * back, 1) for back in range(480)]
    for moment, minutes in moments:
        metrics = Metrics()
        daylight = 0.7 + 0.3 * math.cos((now - moment) / 86400 * 2 * math.pi)
        for kind in _KINDS:
            slow = 1.7 if kind.name == "shop.resize_image" and now - moment < 0.6 * 3600 else 1.0
            count = kind.rate * minutes * daylight * random.uniform(0.85, 1.15)
            for _ in range(int(count + random.random())):
                if random.random() < kind.failing:
                    metrics.failed(kind.name)
                else:
                    metrics.done(kind.name, kind.seconds * slow * random.lognormvariate(0, 0.45))
        with time_machine.travel(moment, tick=False):
            metrics.send(api.redis, api.keys)


def _failed(api: Api) -> None:
    now = time.time()
    weights = [each.often for each in _FAILURES]
    for number in range(171):
        failure = random.choices(_FAILURES, weights)[0]
        dead = number >= 128
        first = now - (random.uniform(20, 26) if dead else random.uniform(0.05, 1.5)) * 86400
        value = random.uniform(3, 900)
        payload: dict[str, Any] = {
            "class": failure.job,
            "queue": failure.queue,
            "jid": f"{random.getrandbits(96):024x}",
            "args": _arguments(failure.job),
            "retry": 8,
            "created_at": first - 30,
            "enqueued_at": now - random.uniform(600, 3000),
            "failed_at": first,
            "retried_at": now - random.uniform(10, 600),
            "retry_count": 7 if dead else random.randrange(7),
            "error_class": failure.error,
            "error_message": failure.message.format(value),
            "error_backtrace": _packed(failure.trace),
        }
        raw = json.dumps(payload, separators=(",", ":"))
        if dead:
            api.redis.zadd(api.keys.dead, {raw: now - random.uniform(60, 86400 * 20)})
        else:
            api.redis.zadd(api.keys.retry, {raw: now + random.expovariate(1 / 5000) + 40})


def _arguments(name: str) -> list[Any]:
    order = random.randint(10_000, 99_999)
    made: dict[str, list[Any]] = {
        "shop.capture_payment": [order, random.randint(300, 90_000), "EUR"],
        "shop.send_receipt": [order, random.choice(_ADDRESSES)],
        "shop.resize_image": [f"upload/{order}.jpg", [64, 256, 1024]],
        "shop.reindex": ["product", random.sample(range(1000), 3)],
    }
    return made[name]


def _packed(trace: tuple[str, ...]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(trace).encode())).decode()


def _planned(api: Api) -> None:
    client = Client(redis=api.redis)
    now = time.time()
    for _ in range(412):
        push(client, "shop.send_receipt", "mail", at=now + random.uniform(300, 86400 * 3))


def _waiting(api: Api) -> None:
    client = Client(redis=api.redis)
    for _ in range(9000):
        push(client, "shop.resize_image", "images")
    for back in range(2, 6):
        day = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=back)
        client.push({"class": "shop.nightly_report", "queue": "reports", "args": [str(day)]})


def _batches(api: Api) -> None:
    """What was pushed together: one was cancelled, one has begun."""
    client = Client(redis=api.redis)
    for description, name, queue, jobs in (
        ("Thumbnails of the new catalogue", "shop.resize_image", "images", 240),
        ("Receipts of Black Friday", "shop.send_receipt", "archive", 1200),
        ("Reindex after the merge", "shop.reindex", "archive", 80),
        ("Newsletter of December", "shop.send_receipt", "archive", 4000),
    ):
        with Batch(description, client=client):
            for _ in range(jobs):
                push(client, name, queue)
    third = api.batches.newest(2)[1]
    api.acting_as("grace").batches.cancel(third.bid)
    for entry in api.queue("archive").page(0, 700):
        api.queue("archive").delete(entry)


def push(client: Client, name: str, queue: str, **options: Any) -> None:
    """One more job of the shop."""
    client.push({"class": name, "queue": queue, "args": _arguments(name), **options})
