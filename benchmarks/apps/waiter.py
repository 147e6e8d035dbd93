"""The limit of latency: a process that waits in ``BLMOVE`` and notes when it woke."""

from __future__ import annotations

import time

import redis

from benchmarks.apps import URL
from benchmarks.load import stamps

QUEUE = "bench:waiter"
_TAKEN = "bench:waiter:taken"


def main() -> None:
    """Run until killed."""
    client = redis.Redis.from_url(URL, protocol=2)
    words = stamps.here()
    while True:
        number = client.blmove(QUEUE, _TAKEN, 5, "RIGHT", "LEFT")
        if number is not None:
            words[int(number)] = time.monotonic_ns()
            client.delete(_TAKEN)


if __name__ == "__main__":
    main()
