"""One module a contender: its jobs, and its ways to enqueue them.

Each defines ``push(workload, n)``, one job a call in the usual way, and ``push_bulk(workload, n)``,
the fastest way that the tool documents; both may return the seconds that count, where these are
not simply the seconds that the call took. ``push_stamp(at)`` pushes one job that notes when it
started (:mod:`benchmarks.load.stamps`). The worker commands load the same module.
"""

from __future__ import annotations

import os

URL = os.environ.get("JOBD_BENCH_URL", "redis://127.0.0.1:6379/0")
"""The server under all contenders."""

QUIET = os.environ.get("JOBD_BENCH_QUIET") == "1"
"""Whether only warnings are to be logged; otherwise each contender logs as it does by default."""

THREADS = 10
"""Threads of one worker process for jobs that are no coroutines."""

AT_ONCE = int(os.environ.get("JOBD_BENCH_AT_ONCE", "10"))
"""Jobs that one worker process is to run at the same time, where its command has no flag for it."""
