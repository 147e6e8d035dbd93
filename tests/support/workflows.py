"""Workflows for the tests of what shows them: pushed to a real server, and run by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import redis as redis_py

from jobd import App, Workflow
from jobd.jobs.canvas.parts import group
from jobd.store import scripts
from jobd.store.keys import Keys

NASTY = "<b>\"&'x"


def jobs_of(url: str, prefix: str = "") -> Any:
    """Some jobs of an application that pushes there."""
    app = App()
    app.configure(url, prefix)

    def job(name: str) -> Any:
        return app.job(name=name, retry=0)(lambda value=None: None)

    names = ("charge", "pack", "ship", "tell", "refund")
    return SimpleNamespace(client=app.client, **{name: job(f"shop.{name}") for name in names})


def order(jobs: Any, ref: str = "order-7", wide: int = 3) -> str:
    """Push a workflow with a branch, a wide group and something to undo; returns its id."""
    flow = Workflow(NASTY, id=ref, on_error=jobs.tell.s())
    charge = flow.step("charge", jobs.charge.s(), compensate=jobs.refund.s())
    packed = flow.step("pack", group(jobs.pack.si(n) for n in range(wide)), after=charge)
    flow.step("ship", jobs.ship.s(packed.result))
    flow.step("tell", jobs.tell.s(charge.result))
    assert flow.perform_async() == ref
    return ref


NO_MONEY = '{"class":"ValueError","message":"no money"}'


def end(
    redis: redis_py.Redis,
    prefix: str,
    how: str = "done",
    most: int = 1,
    detail: str = NO_MONEY,
) -> int:
    """End the jobs that wait in the queue ``default``; returns how many."""
    keys = Keys(prefix)
    flight, stats = keys.inflight("test:1:x"), [keys.processed, keys.processed_on("2026-11-30")]
    ended = 0
    while ended < most:
        raw: Any = redis.rpop(keys.queue("default"))
        if raw is None:
            break
        redis.hset(flight, "1:default", raw)
        if how == "failed":
            failed = [*stats, keys.failed, keys.failed_on("2026-11-30")]
            scripts.DISCARD(redis, [flight, *failed], [60, "1:default", detail])
        else:
            scripts.END(redis, [flight, keys.queues, *stats], [60, how, "1:default", b""])
        ended += 1
    return ended
