"""dramatiq's jobs. It has no bulk push (its groups enqueue one by one as well)."""

from __future__ import annotations

import logging

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO

from benchmarks.apps import QUIET, URL
from benchmarks.load import stamps, work

broker = RedisBroker(url=URL)
# As its users do for coroutines: a loop in a thread of its own, for which worker threads wait.
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)
if QUIET:
    logging.getLogger("dramatiq").setLevel(logging.WARNING)

ACTORS = {name: dramatiq.actor(function) for name, function in work.WORKLOADS.items()}

STAMP = dramatiq.actor(stamps.start, actor_name="stamp")


def push(workload: str, n: int) -> None:
    send, arguments = ACTORS[workload].send, work.ARGUMENTS[workload]
    for _ in range(n):
        send(*arguments)


def push_bulk(workload: str, n: int) -> None:
    actor, arguments = ACTORS[workload], work.ARGUMENTS[workload]
    dramatiq.group([actor.message(*arguments) for _ in range(n)]).run()


def push_stamp(at: int) -> None:
    STAMP.send(at)
