"""Sidekiq's jobs, enqueued from Ruby as its users do; what they do is in sidekiq_app.rb."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.apps import URL
from jobd import Client

RUBY = Path(__file__).with_name("sidekiq_app.rb")

_client = Client(URL)


def push(workload: str, n: int) -> float:
    return _ruby("push", workload, n)


def push_bulk(workload: str, n: int) -> float:
    return _ruby("push_bulk", workload, n)


def push_stamp(at: int) -> None:
    """Pushed from Python: the same bytes, and one pace for all contenders."""
    _client.push({"class": "Stamp", "args": [at]})


def _ruby(how: str, workload: str, n: int) -> float:
    """Returns the seconds that Ruby took, without its own start."""
    command = ["ruby", str(RUBY), how, workload, str(n)]
    environment = {**os.environ, "JOBD_BENCH_URL": URL}
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return float(done.stdout)
