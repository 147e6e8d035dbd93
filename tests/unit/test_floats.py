"""Floats in payloads have the bytes that Ruby's ``Float#to_s`` gives them."""

from __future__ import annotations

import json

import pytest
import redis as redis_py
from hypothesis import given
from hypothesis import strategies as st

from jobd import Client, payload
from jobd.arguments import check_arguments
from jobd.testing import EmbeddedServer

# As Ruby 3.1 prints them.
RUBY = {
    999999999999999.9: b"999999999999999.9",
    1e15: b"1.0e+15",
    -9999999999999998.0: b"-9.999999999999998e+15",
    3111724150680450.5: b"3111724150680450.5",
    1e16: b"1.0e+16",
    -1.5e300: b"-1.5e+300",
    1e-4: b"0.0001",
    0.00001: b"1.0e-05",
    1.25e-7: b"1.25e-07",
    5e-324: b"5.0e-324",
    -0.0: b"-0.0",
}


@pytest.mark.parametrize(("number", "text"), RUBY.items())
def test_a_push_writes_numbers_as_ruby_does(
    server: EmbeddedServer, redis: redis_py.Redis, number: float, text: bytes
) -> None:
    item = {"class": "A", "args": [number, {"n": [number]}], "kwargs": {"k": number}}
    client = Client(server.url)
    client.push(item)
    client.push_bulk({**item, "args": [[number, {"n": [number]}]]})
    for raw in redis.lrange("queue:default", 0, -1):
        assert b'"args":[%b,{"n":[%b]}]' % (text, text) in raw
        assert b'"kwargs":{"k":%b}' % text in raw


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_payload_that_comes_back_keeps_its_numbers(number: float) -> None:
    text = payload.encode_again({"args": [number, {"n": number}]})
    assert payload.encode_again(payload.decode(text)) == text
    assert json.loads(text) == {"args": [number, {"n": number}]}
    mantissa, _, exponent = text.partition(b"[")[2].partition(b",")[0].partition(b"e")
    assert mantissa.count(b".") == 1
    fixed = number == 0 or 1e-4 <= abs(number) < 1e15 or not number.is_integer()
    assert not (exponent and fixed) or abs(number) < 1e-4


def test_only_arguments_that_hold_such_a_number_cost_the_spelling() -> None:
    assert not check_arguments([1, 0.5, "1e16", [2**70]], {"a": {"b": -0.0}})
    assert check_arguments([1, [{"a": [1e16, 2]}]], {})
    assert check_arguments([], {"a": 1e-5})
