"""Reports of progress: what is refused, and what is made of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobd.errors import ArgumentError
from jobd.wire.progress import MOST_NOTE, Progress, amount, note_of, read


class Count(int):
    def __repr__(self) -> str:
        return "many"


@pytest.mark.parametrize(
    "value", [-1, -0.5, float("nan"), float("inf"), 1e16, "3", None, True, [1]]
)
def test_no_amount(value: Any) -> None:
    with pytest.raises(ArgumentError, match="progress: done must be a"):
        amount("done", value)


def test_amounts() -> None:
    assert [amount("done", value) for value in (0, 5, 0.5, Count(7))] == [0, 5, 0.5, 7.0]
    assert type(amount("done", Count(7))) is float


def test_notes() -> None:
    assert note_of("") == ""
    assert note_of("a" * 500) == "a" * (MOST_NOTE - 1) + "…"
    assert note_of("\udce9") == "\\udce9"
    with pytest.raises(ArgumentError, match="note must be a string"):
        note_of(5)


def made(done: float, at: float, total: float | None = None, **more: Any) -> Progress:
    return Progress("ab", 1, done, at, total, **more)


def test_it_is_read_as_it_was_written() -> None:
    seen = made(3, 20.5, 9, note="ü", first_done=1, first_at=10.5)
    assert read(msgspec.json.encode(seen)) == seen


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"jid":"a"}',
        b'{"jid":"a","attempt":1,"done":-1,"at":2}',
        b'{"jid":"a","attempt":1,"done":"1","at":2}',
        b'{"jid":"a","attempt":1,"done":1,"at":2,"total":1e300}',
        b"\xff",
    ],
)
def test_what_is_none_is_not_read(raw: bytes) -> None:
    assert read(raw) is None


def test_fractions() -> None:
    assert made(1, 1.0).fraction is None
    assert made(1, 1.0, 4).fraction == 0.25
    assert made(5, 1.0, 4).fraction == 1.0
    assert made(0, 1.0, 0).fraction == 1.0


def test_rates_and_what_is_left() -> None:
    assert made(10, 10.0, 100, first_done=10, first_at=10.0).rate is None
    assert made(5, 20.0, 100, first_done=10, first_at=10.0).rate is None
    seen = made(30, 20.0, 90, first_done=10, first_at=10.0)
    assert seen.rate == 2.0
    assert (seen.left(20.0), seen.left(35.0), seen.left(500.0)) == (30.0, 15.0, 0.0)
    assert made(30, 20.0, first_done=10, first_at=10.0).left(20.0) is None
