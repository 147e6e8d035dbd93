"""What is read of workflows: the largest ones, and what no version of jobd has written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from jobd.features.workflows.record import WorkflowInfo, info_of
from jobd.graphs.graph import MOST
from jobd.graphs.plan import About, Step
from jobd.web.views.graph import drawing


def read(after: Sequence[tuple[int, ...]], letters: bytes) -> WorkflowInfo | None:
    steps = [Step("", "job", each) for each in after]
    about = msgspec.json.encode(About(1.0))
    fields = {b"about": about, b"state": b"running", b"g:0": msgspec.json.encode(steps)}
    return info_of("some", {**fields, b"ended_at": b"soon"}, letters)


def test_the_longest_chain_is_looked_at_once() -> None:
    """Whatever it takes per step and step before it, takes minutes here."""
    info = read([(number - 1,) if number else () for number in range(MOST)], b"f")
    assert info is not None
    assert [one.state for one in info.steps] == ["failed", *["blocked"] * (MOST - 1)]
    back = read([(number + 1,) if number < MOST - 1 else () for number in range(MOST)], b"")
    assert back is not None
    assert drawing(back.steps) is None, "too large"


def test_only_what_waits_for_a_failure_is_blocked() -> None:
    info = read([(), (), (0,), (1, 2), (1,)], b"fd..p")
    assert info is not None
    assert [one.state for one in info.steps] == ["failed", "done", "blocked", "blocked", "pushed"]


def test_steps_in_a_circle_are_drawn_at_the_beginning() -> None:
    info = read([(1,), (0,), (), (2,)], b"\xff\xc3\xa4f" * 9)
    assert info is not None
    drawn = drawing(info.steps)
    assert drawn is not None
    assert [box.x for box in drawn.boxes[:3]] == [drawn.boxes[0].x] * 3
    assert drawn.boxes[3].x > drawn.boxes[0].x


@pytest.mark.parametrize("after", [5, -1, 2**40])
def test_one_that_waits_for_a_step_that_is_not_there_is_none(after: int) -> None:
    assert read([(), (after,)], b"") is None
