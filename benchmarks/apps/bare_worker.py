"""The limit: claim, decode, call, acknowledge, in one thread and nothing else.

jobd's own scripts on one pinned connection of redis-py, the largest claims that they allow, each
acknowledgement in the round trip of the next claim. No threads, no retries, no logs, no stop: no
reliable runner that is written in Python and uses these scripts can be faster in one process.
"""

from __future__ import annotations

import time

from benchmarks.apps import URL
from benchmarks.load import work
from jobd.store.connection import connect
from jobd.store.inflight import Claimed, InFlight
from jobd.store.keys import Keys
from jobd.store.pipeline import Wire
from jobd.store.scripts import OF_A_WORKER
from jobd.wire import payload

BATCH = 1000
"""Jobs of one claim; larger ones were not faster."""

_NAP = 0.001


def main() -> None:
    """Run until killed."""
    inflight = InFlight(Keys(""), f"bare:{time.time_ns()}", ("default",))
    wire = Wire(connect(URL))
    wire.connect(OF_A_WORKER)
    wire.send(inflight.register())
    wire.read()
    functions = {f"bench.{name}": function for name, function in work.WORKLOADS.items()}
    shares, parse, sequence = [("default", BATCH)], payload.parse, 1
    done: list[Claimed] = []
    while True:
        acknowledgement = inflight.acknowledge(done) if done else b""
        wire.send(acknowledgement + inflight.claim(sequence, BATCH, shares))
        if done:
            wire.read()
        done = []
        for _, *payloads in wire.read():
            for raw in payloads:
                job = parse(raw)
                functions[job.class_](*job.args)
                done.append(Claimed(sequence, "default", raw))
                sequence += 1
        if not done:
            time.sleep(_NAP)


if __name__ == "__main__":
    main()
