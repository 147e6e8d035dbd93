"""Pushes jobs with one contender's client and prints the seconds it took.

``python -m benchmarks.load.produce NAME WORKLOAD JOBS push|push_bulk``: imports and connects first,
says so with a line, waits for a line, pushes.
"""

from __future__ import annotations

import importlib
import os
import sys
import time


def main(name: str, workload: str, jobs: int, how: str) -> None:
    push = getattr(importlib.import_module(f"benchmarks.apps.{name}_app"), how)
    # Connections are made and caches filled before the clock starts.
    push(workload, 10)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    seconds = push(workload, jobs)
    print(time.monotonic() - began if seconds is None else seconds, flush=True)
    # Nothing is left to do, and native threads of a client (ardiq's) may crash an interpreter that
    # takes itself apart.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
