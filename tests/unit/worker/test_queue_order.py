"""In which order and proportion claims are planned."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.settings.daemon import QueueSpec
from jobd.worker.fetch.order import QueueOrder


def test_strict_tries_all_in_the_order_of_the_configuration() -> None:
    order = QueueOrder([QueueSpec("b", 0), QueueSpec("a", 0)], "strict")
    assert order.names == ("b", "a")
    assert order.shares(7, 2) == [("b", 7), ("a", 2)]


@pytest.mark.parametrize("mode", ["strict", "weighted", "random"])
def test_one_queue_gives_everything(mode: str) -> None:
    assert QueueOrder([QueueSpec("only", 3)], mode).shares(5, 1) == [("only", 5)]


def test_weights_divide_a_claim() -> None:
    order = QueueOrder([QueueSpec("often", 3), QueueSpec("seldom", 1)], "weighted")
    assert dict(order.shares(100, 10)) == {"often": 75, "seldom": 25}


@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=8),
    st.integers(1, 5000),
)
def test_shares_add_up_and_are_within_one_of_the_exact_ones(weights: list[int], jobs: int) -> None:
    queues = [QueueSpec(f"q{n}", weight) for n, weight in enumerate(weights)]
    shares = QueueOrder(queues, "weighted").shares(jobs, 1)
    assert sorted(name for name, _ in shares) == [queue.name for queue in queues]
    assert sum(share for _, share in shares) == jobs
    total = sum(max(weight, 1) for weight in weights)
    for name, share in shares:
        exact = jobs * max(weights[int(name[1:])], 1) / total
        assert exact - 1 < share < exact + 1


@pytest.mark.parametrize(
    ("mode", "weights", "expected"),
    [("weighted", (3, 1), 0.75), ("weighted", (3, 0), 0.75), ("random", (1, 1), 0.5)],
)
def test_claims_of_one_job_keep_the_proportion(
    mode: str, weights: tuple[int, int], expected: float
) -> None:
    order = QueueOrder([QueueSpec("a", weights[0]), QueueSpec("b", weights[1])], mode)
    rounds = 4000
    given = Counter(name for _ in range(rounds) for name, share in order.shares(1, 1) if share)
    first = Counter(order.shares(1, 1)[0][0] for _ in range(rounds))
    # Six standard deviations: about one failure in a billion runs.
    assert abs(given["a"] / rounds - expected) < 0.05
    assert abs(first["a"] / rounds - expected) < 0.05


def test_the_shares_of_many_queues_take_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw for each of the jobs that rounding left, over all the queues, took a tenth of a second
    of the interpreter with a thousand queues."""
    order = QueueOrder([QueueSpec(f"q{n}", 1 + n % 3) for n in range(1000)], "weighted")
    drawn: list[int] = []
    draw = random.randrange

    def note(most: int) -> int:
        drawn.append(most)
        return draw(most)

    monkeypatch.setattr(random, "randrange", note)
    monkeypatch.setattr(random, "choices", None)
    assert sum(share for _, share in order.shares(700, 1)) == 700
    assert len(drawn) == 1


def test_all_queues_have_their_turn_in_claims_of_some_jobs() -> None:
    weights = (1, 2, 3, 4)
    order = QueueOrder([QueueSpec(str(weight), weight) for weight in weights], "weighted")
    rounds = 4000
    given: Counter[str] = Counter()
    for _ in range(rounds):
        given.update(dict(order.shares(3, 1)))
    for weight in weights:
        assert abs(given[str(weight)] / (3 * rounds) - weight / 10) < 0.02
