"""The Python application: the same jobs as in ``ruby/jobs.rb``, under the same names."""

from __future__ import annotations

import json
import os
from typing import Any

import redis as redis_py

from jobd import current_job, job


def _redis(timeout: float = 5.0) -> redis_py.Redis:
    return redis_py.Redis.from_url(os.environ["INTEROP_REDIS"], protocol=2, socket_timeout=timeout)


def _record(args: tuple[Any, ...]) -> None:
    """Leave a line, so that a test can see who ran what, with which arguments."""
    running = current_job()
    line = {
        "by": "python",
        "class": running.payload["class"],
        "jid": running.jid,
        "args": list(args),
    }
    with _redis() as redis:
        redis.rpush("ran", json.dumps(line))


@job(name="Greet", tags=["a", "b"])
def greet(*args: Any) -> None:
    _record(args)


@job(name="Flaky", retry=5, backtrace=True)
def flaky(*args: Any) -> None:
    """Fail for as long as the key "broken" exists."""
    _record(args)
    with _redis() as redis:
        if redis.exists("broken"):
            raise ValueError(f"broken é {args[0]}")


@job(name="Hopeless", retry=0)
def hopeless() -> None:
    """Go to the dead set at once."""
    raise RuntimeError("broken for good")


@job(name="Slow")
def slow(seconds: float) -> None:
    """Run until somebody pushes to the list "go", at most *seconds*."""
    _record((seconds,))
    with _redis(timeout=seconds + 5) as redis:
        redis.blpop(["go"], timeout=seconds)
