"""Exactly the values that survive JSON are accepted, and a refusal says where the other one is."""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.errors import ArgumentError
from jobd.wire.arguments import MAX_DEPTH, check_arguments


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Plain(enum.Enum):
    ONE = 1


class Moment(datetime):
    """As those of pandas."""


class Names(list[Any]):
    pass


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
foreign = (
    st.text(st.characters())  # with half surrogate pairs
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.uuids()
    | st.frozensets(st.integers())
    | st.sampled_from([Colour.RED, Size.BIG, Names(), math.nan, -math.inf, (), (1,), object()])
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.text() | st.text(st.characters()) | st.integers() | st.none() | st.just(Colour.RED)
    return st.lists(inner) | st.dictionaries(keys, inner) | st.tuples(inner)


def same(left: Any, right: Any) -> bool:
    """Equal, with equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    return bool(left == right)


def survives(value: Any) -> bool:
    try:
        return same(msgspec.json.decode(msgspec.json.encode(value)), value)
    except (TypeError, ValueError):
        return False


@given(st.recursive(plain | foreign, containers, max_leaves=8))
def test_accepts_exactly_what_survives_json(value: Any) -> None:
    for args, kwargs in (([value], {}), ([], {"value": value})):
        try:
            check_arguments(args, kwargs)
        except ArgumentError:
            assert not survives(value)
        else:
            assert survives(value)


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_accepts_plain_values(value: Any) -> None:
    if "nan" in repr(value) or "inf" in repr(value):
        return
    check_arguments([value], {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1}, "argument items is of type set, which JSON cannot carry; pass a list"),
        (b"x", "argument items is of type bytes, which JSON cannot carry; pass text"),
        ((1,), "argument items is of type tuple, which JSON cannot carry; pass a list"),
        ([[], {"when": datetime.now(UTC)}], "argument items[1].when is of type datetime"),
        ([{"a b": Decimal(1)}], "argument items[0]['a b'] is of type Decimal"),
        (math.nan, "argument items is nan, which JSON cannot carry"),
        ([math.inf], "argument items[0] is inf, which JSON cannot carry"),
        ({1: 2}, "argument items has the key 1, but JSON has only strings as keys"),
        ([{"x": {None: 2}}], "argument items[0].x has the key None"),
        (Colour.RED, "argument items is of type Colour, which would come back as a plain str"),
        ("\ud800", "argument items holds a lone surrogate"),
        ({"\ud800": 1}, "argument items has a key that holds a lone surrogate"),
        (object(), "is of type object, which JSON cannot carry; pass an id"),
        (range(3), "is of type range, which JSON cannot carry; pass a list"),
        ((n for n in "x"), "is of type generator, which JSON cannot carry; pass a list"),
        ({"a": 1}.keys(), "is of type dict_keys, which JSON cannot carry; pass a list"),
        (PurePath("x"), "is of type PurePosixPath, which JSON cannot carry; pass str(value)"),
        (Plain.ONE, "is of type Plain, which JSON cannot carry; pass .value"),
        (Moment(2030, 1, 1), "is of type Moment, which JSON cannot carry; pass .isoformat()"),
    ],
)
def test_names_the_argument_and_the_place(value: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        check_arguments([1, value], {}, ["first", "items"])
    assert message in str(refused.value)
    with pytest.raises(ArgumentError) as refused:
        check_arguments([], {"items": value})
    assert message in str(refused.value)


def test_numbers_what_has_no_name() -> None:
    with pytest.raises(ArgumentError, match=r"^argument args\[1\]\[0\] is of type set"):
        check_arguments([1, [{2}]], {}, ["first"])


def test_refuses_numbers_that_python_would_not_read() -> None:
    for number in (10**4300, -(10**4300)):
        with pytest.raises(ArgumentError, match="number of more than 4,300 digits"):
            check_arguments([number], {})
        check_arguments([number // 10], {})


def test_refuses_keyword_that_is_no_text() -> None:
    with pytest.raises(ArgumentError, match=r"^kwargs has the key 1"):
        check_arguments([], {1: 2})  # type: ignore[dict-item]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_depth_is_limited_to_what_ruby_reads() -> None:
    check_arguments([nested(MAX_DEPTH)], {})
    with pytest.raises(ArgumentError, match="nested more than 97 levels deep"):
        check_arguments([nested(MAX_DEPTH + 1)], {})
    with pytest.raises(ArgumentError, match="nested more than 97 levels deep"):
        check_arguments([nested(50_000)], {})
