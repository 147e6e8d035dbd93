"""In which order and proportion claims are planned."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.config import QueueSpec
from jobd.worker.queues import QueueOrder


def test_strict_tries_all_in_the_order_of_the_configuration() -> None:
    order = QueueOrder([QueueSpec("b", 0), QueueSpec("a", 0)], "strict")
    assert order.names == ("b", "a")
    assert order.shares(7) == [("b", 7), ("a", 7)]


@pytest.mark.parametrize("mode", ["strict", "weighted", "random"])
def test_one_queue_gives_everything(mode: str) -> None:
    assert QueueOrder([QueueSpec("only", 3)], mode).shares(5) == [("only", 5)]


def test_weights_divide_a_claim() -> None:
    order = QueueOrder([QueueSpec("often", 3), QueueSpec("seldom", 1)], "weighted")
    assert dict(order.shares(100)) == {"often": 75, "seldom": 25}


@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=8),
    st.integers(1, 5000),
)
def test_shares_add_up_and_are_within_one_of_the_exact_ones(weights: list[int], jobs: int) -> None:
    queues = [QueueSpec(f"q{n}", weight) for n, weight in enumerate(weights)]
    shares = QueueOrder(queues, "weighted").shares(jobs)
    assert sorted(name for name, _ in shares) == [queue.name for queue in queues]
    assert sum(share for _, share in shares) == jobs
    total = sum(max(weight, 1) for weight in weights)
    for name, share in shares:
        exact = jobs * max(weights[int(name[1:])], 1) / total
        # What rounding leaves may go to one queue more than once only while it still misses some.
        assert exact - 1 < share < exact + 2


@pytest.mark.parametrize(
    ("mode", "weights", "expected"),
    [("weighted", (3, 1), 0.75), ("weighted", (3, 0), 0.75), ("random", (1, 1), 0.5)],
)
def test_claims_of_one_job_keep_the_proportion(
    mode: str, weights: tuple[int, int], expected: float
) -> None:
    order = QueueOrder([QueueSpec("a", weights[0]), QueueSpec("b", weights[1])], mode)
    rounds = 4000
    given = Counter(name for _ in range(rounds) for name, share in order.shares(1) if share)
    first = Counter(order.shares(1)[0][0] for _ in range(rounds))
    # Six standard deviations: about one failure in a billion runs.
    assert abs(given["a"] / rounds - expected) < 0.05
    assert abs(first["a"] / rounds - expected) < 0.05
