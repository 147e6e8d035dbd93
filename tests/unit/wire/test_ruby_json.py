"""Floats in payloads have the bytes that Ruby's json gives them, from 2.15 on."""

from __future__ import annotations

import decimal
import json

import pytest
import redis as redis_py
from hypothesis import given
from hypothesis import strategies as st

from jobd import Client
from jobd.errors import PayloadError
from jobd.testing import EmbeddedServer
from jobd.wire import payload, transitions
from jobd.wire.arguments import check_arguments

# Most of them are in the tests of json itself.
RUBY = {
    1e10: b"10000000000.0",
    -100000000000000.0: b"-100000000000000.0",
    999999999999999.9: b"999999999999999.9",
    1e15: b"1e+15",
    -1e15: b"-1e+15",
    1111111111111111.1: b"1111111111111111.1",
    11111111111111111.1: b"1.1111111111111112e+16",
    -9999999999999998.0: b"-9.999999999999998e+15",
    3111724150680450.5: b"3111724150680450.5",
    1e16: b"1e+16",
    -1.5e300: b"-1.5e+300",
    1e-4: b"0.0001",
    0.00001: b"0.00001",
    9.999e-6: b"0.000009999",
    1e-6: b"0.000001",
    1.25e-7: b"0.000000125",
    -2.2471348024634545e-08: b"-0.000000022471348024634545",
    -2.2471348024634545e-09: b"-0.0000000022471348024634545",
    2.25e-10: b"2.25e-10",
    1e-9: b"0.000000001",
    1e-10: b"1e-10",
    5e-324: b"5e-324",
    -0.0: b"-0.0",
}


@pytest.mark.parametrize(("number", "text"), RUBY.items())
def test_a_push_writes_numbers_as_ruby_does(
    server: EmbeddedServer, redis: redis_py.Redis, number: float, text: bytes
) -> None:
    item = {"class": "A", "args": [number, {"n": [number]}], "kwargs": {"k": number}, "x": number}
    client = Client(server.url)
    client.push(item)
    client.push_bulk({**item, "args": [[number, {"n": [number]}]]})
    for raw in redis.lrange("queue:default", 0, -1):
        assert b'"args":[%b,{"n":[%b]}]' % (text, text) in raw
        assert b'"kwargs":{"k":%b}' % text in raw
        assert b'"x":%b,' % text in raw


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_payload_that_comes_back_keeps_its_numbers(number: float) -> None:
    text = payload.encode_again({"args": [number, {"n": number}]})
    assert payload.encode_again(payload.decode(text)) == text
    assert json.loads(text) == {"args": [number, {"n": number}]}
    mantissa, _, exponent = text.partition(b"[")[2].partition(b",")[0].partition(b"e")
    whole = number.is_integer()
    plain = number == 0 or abs(number) < 1e15 if whole else abs(number) >= 1e-9
    assert bool(exponent) is not plain
    assert mantissa.count(b".") == 1 if plain else not exponent.startswith(b"0")


def test_numbers_do_not_depend_on_the_applications_decimals() -> None:
    with decimal.localcontext(prec=2, rounding=decimal.ROUND_UP):
        assert payload.encode_again({"n": 1.2345678e16}) == b'{"n":1.2345678e+16}'


OTHERS = b"[1.0e-05,1E+15,1.50,-0.0,100,1e2,12345678901234567890.0]"
"""As other programs may spell them."""


def test_numbers_of_others_stay_as_they_are_spelled() -> None:
    raw = b'{"class":"A","args":%b,"odd":{"n":1.0e+20},"retry_for":1.0e3,"jid":"j"}' % OTHERS
    kept = (b'"args":' + OTHERS, b'"odd":{"n":1.0e+20}', b'"retry_for":1.0e3')
    failed = transitions.with_failure(raw, error=KeyError(), queue="q", now=1.5, backtrace=None)
    crashed = transitions.with_crash(raw, cause="SIGKILL", owner="h")[1]
    for after in (
        transitions.rewritten(raw, failed),
        transitions.noted(raw, error=PayloadError(), queue="q", now=1.5),
        transitions.with_enqueued(raw, 1.5)[1],
        transitions.with_retry_by_hand(raw, 1.5)[1],
        transitions.with_retry_by_hand(raw, 1.5, {**payload.decode(raw), "queue": "low"})[1],
        transitions.with_queue(raw, "low"),
        crashed,
    ):
        assert all(part in after for part in kept), after
    edited = transitions.with_retry_by_hand(raw, 1.5, {"args": [1e-5, True]})[1]
    assert b'"args":[0.00001,true]' in edited
    assert kept[1] in edited


def test_a_value_of_another_type_is_another_one() -> None:
    raw = b'{"args":[1,true,0.0],"class":"A"}'
    for args in ([True, True, 0.0], [1, 1, 0.0], [1, True, 0], [1, True, -0.0], [1.0, True, 0.0]):
        after = payload.decode(transitions.rewritten(raw, {"args": args, "class": "A"}))
        assert repr(after["args"]) == repr(args)


def test_only_arguments_that_hold_such_a_number_cost_the_spelling() -> None:
    assert not check_arguments([1, 0.5, "1e16", [2**70]], {"a": {"b": -0.0}})
    assert check_arguments([1, [{"a": [1e16, 2]}]], {})
    assert check_arguments([], {"a": 1e-6})
