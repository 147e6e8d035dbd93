"""Row 52: start and stop, with random signals in between, again and again.

``make faults SEED=n CYCLES=n`` makes long runs; a failure names the seed and the cycle, and the
same seed makes the same plans.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.faults.cycles import Cycles, Plan

SEED = int(os.environ.get("FAULTS_SEED") or 20261123)
CYCLES = int(os.environ.get("FAULTS_CYCLES") or 10_000)
STRANDS = 4
"""The long run is cut into so many, which ``pytest -n`` can share out."""


def play(directory: Path, server: EmbeddedServer, redis: redis_py.Redis, numbers: range) -> None:
    cycles = Cycles(directory, server.url, redis)
    for number in numbers:
        plan = Plan.of(SEED, number)
        try:
            cycles.play(plan)
        except AssertionError as failure:
            raise AssertionError(
                f"cycle {number} of seed {SEED} ({plan}); again with make faults SEED={SEED} "
                f"CYCLES={CYCLES}\n{failure}"
            ) from None
    cycles.finish()


def test_52_the_same_seed_makes_the_same_plans() -> None:
    assert [Plan.of(1, n) for n in range(50)] == [Plan.of(1, n) for n in range(50)]
    assert [Plan.of(1, n) for n in range(50)] != [Plan.of(2, n) for n in range(50)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("strand", range(3))
def test_52_fifteen_starts_and_stops_with_random_signals(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, strand: int
) -> None:
    play(tmp_path, server, redis, range(strand, 15, 3))


@pytest.mark.minutes
@pytest.mark.timeout(0)
@pytest.mark.parametrize("strand", range(STRANDS))
def test_52_ten_thousand_starts_and_stops_with_random_signals(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, strand: int
) -> None:
    play(tmp_path, server, redis, range(strand, CYCLES, STRANDS))
