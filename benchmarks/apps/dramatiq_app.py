"""dramatiq's jobs. It has no bulk push (its groups enqueue one by one as well)."""

from __future__ import annotations

import logging

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.apps import QUIET, URL
from benchmarks.load import stamps, work

dramatiq.set_broker(RedisBroker(url=URL))
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
