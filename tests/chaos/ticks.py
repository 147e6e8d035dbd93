"""Whether every tick of the periodic jobs was decided once, held against what was pushed.

Each decision leaves a record in the same step, with the tick that comes next. So the records of a
schedule are a chain: each is of the tick that the one before names.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from jobd.schedules.entry import id_of
from tests.chaos.history import History

PERIODIC = ("tick", "tock")
"""The periodic jobs of the application."""

ALWAYS = f"jobd:periodic:{id_of('tests.chaos.periodic_app', 'tick')}".encode()
"""The schedule that catches up with all."""


class Ticks(NamedTuple):
    """What became of the ticks, and what is wrong."""

    counts: Counter[str]
    wrong: list[str]


def judge(history: History, *, stepped: bool) -> Ticks:
    """Look at all ticks.

    Args:
        stepped: the server's clock was set, so that ticks may be older than the grace.
    """
    pushed = _pushed(history)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for key, records in history.ticks.items():
        expected: float | None = None
        for raw in records:
            if raw is None:
                expected = None
                continue
            record = json.loads(raw)
            what, tick, jid = record["what"], record["tick"], record.get("jid", "")
            counts[what] += 1
            if expected is not None and tick != expected:
                wrong.append(f"{key.decode()}: {what} at {tick}, but {expected} was next")
            expected = record["then"]
            if what in ("fired", "late"):
                job = pushed.pop(jid, None)
                if job is None:
                    wrong.append(f"{key.decode()}: {tick} was pushed twice, or never: {record}")
                elif job["jobd"]["tick"] != tick:
                    wrong.append(f"{jid}: of {job['jobd']['tick']}, recorded as of {tick}")
            elif what == "missed" and not stepped and key == ALWAYS:
                wrong.append(f"tick: {record}")
    wrong += [f"{jid}: the job of a tick without a record" for jid in pushed]
    return Ticks(counts, wrong)


def _pushed(history: History) -> dict[str, dict[str, Any]]:
    """The jobs of ticks, by id."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for token, life in history.lives.items():
        if b'"tick":' in life.raw:
            job = json.loads(life.raw)
            if job["class"] in PERIODIC:
                found[token] = job
    return dict(found)
