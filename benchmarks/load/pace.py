"""Pushes one job at a time with one contender's client and waits until it has started.

``python -m benchmarks.load.pace NAME`` imports and connects first and says so with a line. Then,
for each line ``COUNT SECONDS``, it pushes so many jobs, or those that it can within so many
seconds, and answers with a JSON list: what each took from the push to the start, in µs.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from collections.abc import Callable

from benchmarks.load import stamps

_PAUSE = (0.002, 0.008)
"""Seconds between pushes: long enough for both sides to be idle again, and never in step."""

_LOOK = 0.0005
_PATIENCE = 10.0
_WARM_UP = 5


def main(name: str) -> None:
    """Serve lines until standard input ends."""
    push = importlib.import_module(f"benchmarks.apps.{name}_app").push_stamp
    _block(push, _WARM_UP, _PATIENCE)
    print("ready", flush=True)
    for line in sys.stdin:
        count, seconds = line.split()
        print(json.dumps(_block(push, int(count), float(seconds))), flush=True)


def _block(push: Callable[[int], None], count: int, seconds: float) -> list[float]:
    words = stamps.here()
    # A word of one's own for each pusher: they take turns, but nobody should rely on it.
    at = random.randrange(len(words))
    waits: list[float] = []
    until = time.monotonic() + seconds
    while len(waits) < count and time.monotonic() < until:
        words[at] = 0
        began = time.monotonic_ns()
        push(at)
        patience = time.monotonic() + _PATIENCE
        while not words[at]:
            if time.monotonic() > patience:
                raise SystemExit(f"a job did not start within {_PATIENCE:g} s")
            time.sleep(_LOOK)
        waits.append((words[at] - began) / 1000)
        time.sleep(random.uniform(*_PAUSE))
    return waits


if __name__ == "__main__":
    main(sys.argv[1])
