"""One of two processes that move a word between two lists with ``BLMOVE``, each on behalf of the
other: the least that one step after another can cost.

    python -m benchmarks.load.ping_pong URL FROM TO HOPS
"""

from __future__ import annotations

import sys

import redis


def main(url: str, source: str, target: str, hops: int) -> None:
    """Move it so many times."""
    client = redis.Redis.from_url(url)
    for _ in range(hops):
        client.blmove(source, target, 0, "RIGHT", "LEFT")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
