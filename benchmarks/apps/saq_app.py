"""SAQ's jobs, without results. Its fastest way to enqueue is many calls at once in one event loop.

It calls each job with a context first; what is no coroutine runs in a pool of threads of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from saq import Queue

from benchmarks.apps import AT_ONCE, THREADS, URL, loop
from benchmarks.load import stamps, work

queue = Queue.from_url(URL, name="bench")


def _with_context(function: Callable[..., Any]) -> Callable[..., Any]:
    async def coroutine(_context: object) -> None:
        await function()

    def plain(_context: object, **arguments: object) -> None:
        function(*arguments.values())

    return coroutine if iscoroutinefunction(function) else plain


async def _startup(context: dict[str, Any]) -> None:
    # Its own has as many threads as the machine has cores, and four more.
    context["worker"].pool = ThreadPoolExecutor(THREADS)


settings = {
    "queue": queue,
    "functions": [
        *((name, _with_context(function)) for name, function in work.WORKLOADS.items()),
        ("stamp", _with_context(stamps.start)),
    ],
    "concurrency": AT_ONCE,
    "startup": _startup,
}

_AT_ONCE = 50
_NO_RESULT = -1


def push(workload: str, n: int, at_once: int = 1) -> None:
    names = ("data",)[: len(work.ARGUMENTS[workload])]
    arguments = dict(zip(names, work.ARGUMENTS[workload], strict=True))
    # Without the limit of ten seconds for each job that is its default.
    enqueue = partial(queue.enqueue, workload, ttl=_NO_RESULT, timeout=0, **arguments)
    loop.run(loop.push(enqueue, n, at_once))


def push_bulk(workload: str, n: int) -> None:
    push(workload, n, _AT_ONCE)


def push_stamp(at: int) -> None:
    loop.run(queue.enqueue("stamp", ttl=_NO_RESULT, at=at))
