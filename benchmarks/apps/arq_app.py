"""arq's jobs, without results. Its fastest way to enqueue is many calls at once in one event loop.

It runs coroutines only: others go to a pool of threads, as its documentation has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import Any

from arq import ArqRedis, create_pool, func
from arq.connections import RedisSettings

from benchmarks.apps import AT_ONCE, THREADS, URL, loop
from benchmarks.load import stamps, work

_pool = ThreadPoolExecutor(THREADS)


def _coroutine(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, None]]:
    async def awaited(_context: object) -> None:
        await function()

    async def in_thread(_context: object, *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(_pool, function, *arguments)

    return awaited if iscoroutinefunction(function) else in_thread


class Settings:
    """What ``arq`` is given."""

    redis_settings = RedisSettings.from_dsn(URL)
    functions = (
        *(func(_coroutine(function), name=name) for name, function in work.WORKLOADS.items()),
        func(_coroutine(stamps.start), name="stamp"),
    )
    max_jobs = AT_ONCE
    keep_result = 0


LOGS = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
"""For ``--custom-log-dict``."""

_AT_ONCE = 50


@cache
def _redis() -> ArqRedis:
    return loop.loop().run_until_complete(create_pool(RedisSettings.from_dsn(URL)))


def push(workload: str, n: int, at_once: int = 1) -> None:
    enqueue = partial(_redis().enqueue_job, workload, *work.ARGUMENTS[workload])
    loop.run(loop.push(enqueue, n, at_once))


def push_bulk(workload: str, n: int) -> None:
    push(workload, n, _AT_ONCE)


def push_stamp(at: int) -> None:
    loop.run(_redis().enqueue_job("stamp", at))
