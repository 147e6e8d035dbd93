"""A short chaos run; ``make chaos`` makes long ones."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos import plan
from tests.chaos.plan import Kind
from tests.chaos.run import Run

SEED = 20261123


def test_the_same_seed_gives_the_same_faults() -> None:
    one, same, other = (list(islice(plan.faults(seed), 500)) for seed in (SEED, SEED, SEED + 1))
    assert one == same != other
    assert {fault.kind for fault in one} == set(Kind)


@pytest.mark.timeout(180)
def test_nothing_is_lost_in_chaos() -> None:
    outcome = Run(SEED, 30, masters=2, workers=2, long=False).play()
    assert outcome.good, outcome.summary()
    assert outcome.kills >= 30
    assert outcome.verdict.jobs > 100
