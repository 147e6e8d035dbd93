"""A short chaos run; ``make chaos`` makes long ones."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos import plan
from tests.chaos.history import token_of
from tests.chaos.plan import Kind
from tests.chaos.pushes import Fate, pushes
from tests.chaos.run import Run

SEED = 20261123


def test_the_same_seed_gives_the_same_faults() -> None:
    one, same, other = (list(islice(plan.faults(seed), 5000)) for seed in (SEED, SEED, SEED + 1))
    assert one == same != other
    ordeals, as_before, others = (plan.ordeals(seed, 1000) for seed in (SEED, SEED, SEED + 1))
    assert ordeals == as_before != others
    happened = {fault.kind for fault in one} | {ordeal.kind for _, ordeal in ordeals}
    assert happened == set(Kind)


def test_ordeals_fit_into_the_run() -> None:
    for kills in (30, 1000, 3000):
        after = [killed for killed, _ in plan.ordeals(SEED, kills)]
        assert after == sorted(after)
        assert 0 < after[0] <= after[-1] < kills
    outages = [o.seconds for _, o in plan.ordeals(SEED, 1000) if o.kind is Kind.OUTAGE]
    assert sum(seconds > 60 for seconds in outages) == 1
    short = plan.ordeals(SEED, 30, long=False)
    assert sum(ordeal.seconds + ordeal.pause for _, ordeal in short) < 5


def test_the_same_seed_gives_the_same_jobs() -> None:
    one, same, other, second = (
        list(islice(pushes(seed, producer), 2000))
        for seed, producer in ((SEED, 0), (SEED, 0), (SEED + 1, 0), (SEED, 1))
    )
    assert one == same
    assert one != other
    assert {push.token for push in one} & {push.token for push in second} == {""}
    for push in one:
        assert push.item is not None or token_of(push.raw) == push.token
    application = (Path(plan.__file__).parent / "app.py").read_text()
    jobs = set(re.findall(r'@job\(name="(\w+)"', application))
    assert {push.item["class"] for push in one if push.item} == jobs, "each is pushed"
    assert {push.fate for push in one} == set(Fate)


@pytest.mark.timeout(180)
def test_nothing_is_lost_in_chaos() -> None:
    outcome = Run(SEED, 30, masters=2, workers=2, long=False).play()
    assert outcome.good, outcome.summary()
    assert outcome.kills >= 30
    assert outcome.verdict.jobs > 100
    assert outcome.record.faults[Kind.OUTAGE] == 1
