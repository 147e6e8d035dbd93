"""The payload's fields and bytes: those of Sidekiq, and untouched where jobd has no business."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.errors import ArgumentError, PayloadError
from jobd.text import exceptions
from jobd.wire import payload, transitions
from jobd.wire.options import check_options

NOW = 1795416072.920344
JID = "1befef82961e0772dce5ae4d"
BOOM = (
    b'{"retry":2,"queue":"default","backtrace":3,"args":[7],"class":"Boom","jid":"b4f4",'
    b'"created_at":1795416072.5,"enqueued_at":1795416072.75}'
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.text(), values, max_size=6)
spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


# --- bytes as Sidekiq writes them (recorded from version 6.4.1) ---------------------------------


def test_golden_queue() -> None:
    made = payload.create(
        "Ok",
        [1, "two", {"k": [1.5, None, True]}],
        {},
        {"retry": True, "queue": "default", "tags": ["a", "b"]},
        jid=JID,
        now=NOW,
    )
    payload.stamp(made, 1795416072.9206696)
    assert payload.encode(made) == (
        b'{"retry":true,"queue":"default","tags":["a","b"],'
        b'"args":[1,"two",{"k":[1.5,null,true]}],"class":"Ok",'
        b'"jid":"1befef82961e0772dce5ae4d","created_at":1795416072.920344,'
        b'"enqueued_at":1795416072.9206696}'
    )


def test_golden_by_name() -> None:
    item = {"class": "Missing::Klass", "args": [], "jid": JID}
    payload.validate(item)
    made = payload.complete(item, {"retry": True, "queue": "default"}, now=NOW)
    payload.stamp(made, NOW)
    assert payload.encode(made) == (
        b'{"retry":true,"queue":"default","class":"Missing::Klass","args":[],'
        b'"jid":"1befef82961e0772dce5ae4d","created_at":1795416072.920344,'
        b'"enqueued_at":1795416072.920344}'
    )


def test_golden_retry() -> None:
    failed = transitions.with_failure(
        BOOM,
        error=ValueError("boom é 7"),
        queue="default",
        now=1795416082.6269855,
        backtrace=["a:1"],
    )
    packed = transitions.pack_backtrace(["a:1"]).encode()
    assert payload.encode(failed) == (
        BOOM[:-1]
        + ',"error_message":"boom é 7","error_class":"ValueError",'
        '"failed_at":1795416082.6269855,"retry_count":0,"error_backtrace":"'.encode()
        + packed
        + b'"}'
    )


def test_golden_dead() -> None:
    raw = b'{"retry":0,"queue":"default","args":[],"class":"Boom","jid":"b4f4"}'
    failed = transitions.with_failure(
        raw, error=RuntimeError("dead"), queue="default", now=1795416082.5, backtrace=None
    )
    assert payload.encode(failed) == (
        raw[:-1] + b',"error_message":"dead","error_class":"RuntimeError",'
        b'"failed_at":1795416082.5,"retry_count":0}'
    )


def test_whole_seconds_keep_their_fraction() -> None:
    made = payload.create("A", [], {}, {"retry": True, "queue": "q"}, jid="j", now=1720000000.0)
    assert b'"created_at":1720000000.0}' in payload.encode(made)


# --- making and checking ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "args", "kwargs", "jid"),
    [
        # What Sidekiq 6.4.1 makes of each was seen with the real one; kwargs it does not know.
        (b"", [], {}, ""),
        (b',"args":null,"kwargs":null,"jid":null', [], {}, ""),
        (b',"args":"x","jid":4', ["x"], {}, "4"),
        (b',"args":5,"jid":4.5', [5], {}, "4.5"),
        (b',"args":false,"jid":[4]', [False], {}, "[4]"),
        (b',"args":{"a":1,"b":[2]},"kwargs":[]', [["a", 1], ["b", [2]]], {}, ""),
        (b',"args":{},"kwargs":{"a":null}', [], {"a": None}, ""),
        (b',"args":[],"args":[2],"jid":"a"', [2], {}, "a"),
        (b',"args":null,"retry":null,"x":1', [], {}, ""),
    ],
)
def test_jobs_of_other_programs_run_as_sidekiq_runs_them(
    fields: bytes, args: Any, kwargs: Any, jid: str
) -> None:
    work = payload.parse(b'{"class":"A"' + fields + b"}")
    assert (work.class_, work.args, work.kwargs, work.jid) == ("A", args, kwargs, jid)


def test_the_queue_of_a_due_job_may_be_null_or_a_number() -> None:
    assert transitions.with_enqueued(b'{"class":"A","queue":null}', NOW)[0] == "default"
    assert transitions.with_enqueued(b'{"class":"A","queue":5}', NOW)[0] == "5"


def test_kwargs_travel_only_when_there_are_some() -> None:
    options = {"retry": True, "queue": "q"}
    with_some = payload.create("A", [1], {"b": 2}, options, jid="j", now=NOW)
    assert list(with_some) == ["retry", "queue", "args", "class", "kwargs", "jid", "created_at"]
    assert "kwargs" not in payload.create("A", [1], {}, options, jid="j", now=NOW)
    assert "kwargs" not in payload.complete({"class": "A", "args": [], "kwargs": {}}, {}, now=NOW)


def test_jids_are_24_hex_digits_and_differ() -> None:
    jids = {payload.new_jid() for _ in range(100)}
    assert len(jids) == 100
    assert all(len(jid) == 24 and int(jid, 16) >= 0 and jid == jid.lower() for jid in jids)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([], "needs a dict with 'class' and 'args'"),
        ({"class": "A"}, "got only ['class']"),
        ({"class": "", "args": []}, "'class' must be the name of a job"),
        ({"class": 5, "args": []}, "'class' must be the name of a job"),
        ({"class": "A", "args": {}}, "'args' of A must be a list, not dict"),
        ({"class": "A", "args": (1,)}, "'args' of A must be a list, not tuple"),
        ({"class": "A", "args": [], "kwargs": []}, "'kwargs' of A must be a dict, not list"),
        ({"class": "A", "args": [], "jid": 5}, "'jid' of A must be a non-empty string"),
        ({"class": "A", "args": [], "at": "noon"}, "'at' of A must be a number of seconds"),
        ({"class": "A", "args": [], "at": True}, "'at' of A must be a number of seconds"),
        ({"class": "A", "args": [], "queue": ""}, "queue must be a non-empty string"),
        ({"class": "A", "args": [], "queue": "a b"}, "queue 'a b' cannot be shown by dashboards"),
        ({"class": "A", "args": [], "queue": "a\n"}, "cannot be shown by dashboards"),
        ({"class": "A", "args": [], "tags": "mail"}, "A: tags must be a list of strings"),
        ({"class": "A", "args": [], "tags": [1]}, "A: tags must be a list of strings"),
        ({"class": "A", "args": [], "retry": "no"}, "retry must be True, False or a number"),
        ({"class": "A", "args": [], "retry": -1}, "retry must be True, False or a number"),
        ({"class": "A", "args": [], "retry_for": 2e9}, "up to 1,000,000,000, not 2000000000.0"),
        ({"class": "A", "args": [], "dead": 0}, "dead must be True or False"),
        ({"class": "A", "args": [], "backtrace": "x"}, "backtrace must be True, False or a number"),
        ({"class": "A", "args": [], "retry_queue": "a/b"}, "retry_queue: queue 'a/b'"),
        ({"class": "A", "args": [], "extra": {1}}, "A: option extra is of type set"),
        ({"class": "A", "args": [], 5: 1}, "option 5 must have a string as its name"),
    ],
)
def test_validate_refuses(item: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        payload.validate(item)
    assert message in str(refused.value)


@pytest.mark.parametrize("queue", ["default", "a-b", "a_b", "A:b.C", "0"])
def test_validate_accepts(queue: str) -> None:
    payload.validate(
        {
            "class": "A::B",
            "args": [1],
            "queue": queue,
            "at": 1.5,
            "retry": 0,
            "jid": "x",
            "more": [1],
        }
    )


def test_options_may_not_overwrite_the_call() -> None:
    for key in ("class", "args", "jid", "at", "retry_count"):
        with pytest.raises(ArgumentError, match=f"'{key}' is not an option"):
            check_options({key: 1})


# --- bytes ------------------------------------------------------------------------------------


@given(fields)
def test_decode_is_the_inverse_of_encode(made: dict[str, Any]) -> None:
    assert payload.decode(payload.encode(made)) == made


@given(fields)
def test_encode_writes_compact_raw_utf8(made: dict[str, Any]) -> None:
    raw = payload.encode(made).decode()
    assert json.loads(raw) == made
    for character in json.dumps(made, ensure_ascii=False):
        assert character.isascii() or character in raw


def test_too_large_names_the_largest_argument() -> None:
    made = payload.create("A", [1, "x" * 2_000_000], {"y": 1}, {}, jid="j", now=NOW)
    with pytest.raises(ArgumentError) as refused:
        payload.encode(made, 1_048_576, ["first", "text"])
    assert "has 2,000,0" in str(refused.value)
    assert "max_payload is 1,048,576" in str(refused.value)
    assert "its largest argument, text, takes 2,000,002" in str(refused.value)
    with pytest.raises(ArgumentError, match=r"largest argument, args\[1\]"):
        payload.encode(made, 1_048_576)
    assert len(payload.encode(made)) > 2_000_000


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_encode_refuses_what_is_no_json(value: Any) -> None:
    with pytest.raises(ArgumentError, match="the payload of A is not valid JSON"):
        payload.encode({"class": "A", "field": value})


def test_parse() -> None:
    work = payload.parse(BOOM)
    assert (work.class_, work.args, work.kwargs, work.jid, work.retry) == (
        "Boom",
        [7],
        {},
        "b4f4",
        2,
    )
    bare = payload.parse(b'{"class":"A","args":[]}')
    assert bare.retry is msgspec.UNSET
    assert bare.jid == ""
    assert payload.parse(b'{"class":"A","args":[],"retry":null}').retry is None
    assert payload.parse(b'{"class":"A","args":[],"kwargs":{"x":1}}').kwargs == {"x": 1}
    assert payload.parse(b'{"class":"A","args":[]}').kwargs is not bare.kwargs


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"not json", "malformed"),
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[1]", "Expected `object`, got `array`"),
        (b'{"args":[]}', "missing required field `class`"),
        (b'{"class":"A","kwargs":5}', "kwargs of a job must be an object, not int"),
        (b'{"class":1,"args":[]}', "Expected `str`, got `int` - at `$.class`"),
        (b'{"class":"A","args":' + b"[" * 200_000, "nested too deeply"),
    ],
)
def test_parse_gives_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        payload.parse(raw)
    assert reason in str(refused.value)


named = st.dictionaries(
    st.sampled_from(["class", "args", 'x":"class', "jid", '"class":"', "\\"]), values
)


@given(
    st.lists(named | st.text() | st.just('"class":"no","class":"'), max_size=3),
    st.permutations(["retry", "args", "class", "kwargs", "jid"]),
    named,
    st.text(),
    st.integers(1, 200),
)
def test_the_class_beside_the_arguments_is_that_of_the_whole(
    args: list[Any], order: list[str], kwargs: dict[str, Any], class_: str, most: int
) -> None:
    made = {"retry": True, "args": args, "class": class_, "kwargs": kwargs, "jid": JID}
    raw = payload.to_json({name: made[name] for name in order})
    assert payload.class_beside(raw, most) in (None, payload.parse(raw).class_)


@pytest.mark.parametrize(
    "order", [("queue", "args", "class", "jid"), ("queue", "class", "args", "jid")]
)
def test_the_class_of_a_large_payload_is_known_without_its_arguments(order: list[str]) -> None:
    made = {"queue": "low", "args": ["x" * 5000], "class": "Add", "jid": JID}
    raw = payload.to_json({name: made[name] for name in order})
    assert payload.class_beside(raw, 100) == "Add"
    assert payload.class_beside(raw.replace(b"Add", b"A\\u0064"), 100) in (None, "Ad")


@pytest.mark.parametrize("raw", [b"not json", b"[1]", b'{"a":' + b"[" * 200_000])
def test_transitions_refuse_what_is_no_payload(raw: bytes) -> None:
    with pytest.raises(PayloadError):
        payload.decode(raw)
    with pytest.raises(PayloadError):
        transitions.with_enqueued(raw, NOW)
    with pytest.raises(PayloadError):
        transitions.with_crash(raw, cause="SIGKILL", owner="vm:1:a")
    with pytest.raises(PayloadError):
        transitions.with_failure(raw, error=ValueError(), queue="q", now=NOW, backtrace=None)


# --- transitions --------------------------------------------------------------------------------


def raw_fields(raw: bytes) -> dict[str, bytes]:
    decoded = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return {key: bytes(value) for key, value in decoded.items()}


@given(fields, spaces, st.booleans())
def test_enqueueing_keeps_every_other_byte(
    made: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    made["queue"] = "low"
    raw = json.dumps(made, separators=separators, ensure_ascii=ascii_only).encode()
    queue, after = transitions.with_enqueued(raw, NOW)
    assert queue == "low"
    before, now = raw_fields(raw), raw_fields(after)
    before["enqueued_at"] = b"1795416072.920344"
    assert now == before
    assert list(now) == list(before)


@given(fields, st.integers(0, 5))
def test_crash_keeps_every_other_byte(made: dict[str, Any], before: int) -> None:
    made["crashes"] = before
    raw = json.dumps(made).encode()
    crashes, after = transitions.with_crash(raw, cause="SIGSEGV", owner="vm:1:a")
    assert crashes == before + 1
    expected = raw_fields(raw) | {"crashes": b"%d" % crashes}
    expected["recovered_from"] = b'{"owner":"vm:1:a","cause":"SIGSEGV"}'
    assert raw_fields(after) == expected


@given(fields)
def test_failure_keeps_every_other_value(made: dict[str, Any]) -> None:
    written = {"queue", "error_message", "error_class", "failed_at", "retry_count", "retried_at"}
    for key in (*written, "retry_queue"):
        made.pop(key, None)
    failed = transitions.with_failure(
        payload.encode(made), error=KeyError(1), queue="q", now=NOW, backtrace=None
    )
    assert {key: value for key, value in failed.items() if key not in written} == made
    assert list(failed)[: len(made)] == list(made)


def test_enqueueing_without_a_queue_goes_to_default() -> None:
    assert transitions.with_enqueued(b'{"class":"A"}', NOW)[0] == "default"
    for queue in (b"7.5", b'""', b"[]", b"true"):
        with pytest.raises(PayloadError, match="queue of a job"):
            transitions.with_enqueued(b'{"queue":' + queue + b"}", NOW)


def test_a_change_by_hand_is_spelled_as_a_push_by_name() -> None:
    raw = b'{"class":"A","args":[],"queu":"of others"}'
    for changes in ({"retires": 1}, {"timeout": 5}, {"extra": {"queue": "x"}}):
        with pytest.raises(ArgumentError):
            transitions.with_retry_by_hand(raw, NOW, changes)
    _, after = transitions.with_retry_by_hand(raw, NOW, {"queu": 1, "extra": {"retires": 2}})
    assert payload.decode(after) == {
        "class": "A",
        "args": [],
        "queu": 1,
        "retires": 2,
        "enqueued_at": NOW,
    }


@pytest.mark.parametrize("raw", [b"[1,2]", b"42", b"null", b'"text"', b"true", b"1.0e-05", b"[]"])
def test_json_that_is_no_object_is_wrapped_for_the_dead_set(raw: bytes) -> None:
    """Sidekiq's page of the dead would raise otherwise."""
    error = PayloadError("no object")
    buried = transitions.noted(raw, error=error, queue="low", now=1.5)
    assert b'"args":[' + raw + b"]" in buried
    made = payload.decode(buried)
    assert (made["class"], made["retry"], made["queue"]) == ("NotAJob", 0, "low")
    assert (made["error_class"], made["error_message"]) == ("jobd.errors.PayloadError", "no object")
    assert (made["failed_at"], made["retry_count"], len(made["jid"])) == (1.5, 0, 24)
    assert payload.parse(buried).jid == made["jid"], "it can be retried and looked at"


@pytest.mark.parametrize("raw", [b"", b"not json", b"[1", b"NaN", b"\xff", b'["\xff"]', b"[1] x"])
def test_what_is_not_json_is_buried_as_it_is(raw: bytes) -> None:
    assert transitions.noted(raw, error=PayloadError(), queue="low", now=1.5) == raw


def test_second_failure_counts_on() -> None:
    first = transitions.with_failure(
        BOOM, error=ValueError("1"), queue="a", now=1.5, backtrace=None
    )
    second = transitions.with_failure(
        payload.encode(first), error=KeyError("2"), queue="b", now=2.5, backtrace=None
    )
    assert (second["failed_at"], second["retried_at"], second["retry_count"]) == (1.5, 2.5, 1)
    assert (second["queue"], second["error_class"], second["error_message"]) == (
        "b",
        "KeyError",
        "'2'",
    )
    assert "retried_at" not in first


def test_retry_queue_goes_first() -> None:
    raw = b'{"class":"A","args":[],"queue":"a","retry_queue":"slow"}'
    failed = transitions.with_failure(raw, error=ValueError(), queue="a", now=1.5, backtrace=None)
    assert failed["queue"] == "slow"


class BrokenError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x" * 20_000), "x" * 10_000),
        (ValueError("a\ud800b"), "a?b"),
        (
            BrokenError(),
            f"(no message: {__name__}.BrokenError.__str__ raised ZeroDivisionError)",
        ),
        (ValueError(), ""),
    ],
)
def test_messages_are_text(error: Exception, message: str) -> None:
    assert exceptions.message_of(error) == message


def test_backtraces_are_what_dashboards_read() -> None:
    lines = ['File "a.py", line 1, in f', "é\ud800"]
    packed = transitions.pack_backtrace(lines)
    assert "\n" not in packed
    assert json.loads(zlib.decompress(base64.b64decode(packed, validate=True))) == [lines[0], "é?"]
