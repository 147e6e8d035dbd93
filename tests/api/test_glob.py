"""Patterns mean in a queue what they mean in a set, where Redis itself looks."""

from __future__ import annotations

import time

import pytest
import redis as redis_py
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobd.api import Api
from jobd.api.search.glob import MOST_OPEN, MOST_SENT, escaped, matcher, plain_part, whole
from jobd.errors import ArgumentError
from jobd.wire.payload import encode_again
from tests.api.conftest import job, push

texts = st.text("aAb*?[]^-\\é", max_size=10)
words = st.one_of(st.sampled_from(["[aA]", "[bB]", "*"]), st.text("aAb*?[]^-\\é", max_size=2))
patterns = st.lists(words, max_size=5).map("".join)


@given(pattern=patterns, text=texts)
@example(pattern="*[b-a]*", text="b")
@example(pattern="a*b*", text="aab")
@example(pattern="[^a]b", text="bb")
@example(pattern="[b-a", text="a")
@example(pattern="[?-é]", text="[")
@example(pattern="[a-]b]", text="b")
@example(pattern="*[]*", text="]")
@example(pattern="[^]", text="]")
@example(pattern="*[a", text="a")
@example(pattern="a\\", text="a\\")
@example(pattern="*[aA]1*[bB]*", text="A1b")
@example(pattern="[aA]B*", text="Ab")
@example(pattern="A*[bB]", text="aB")
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_as_redis_does(redis: redis_py.Redis, pattern: str, text: str) -> None:
    redis.delete("probe")
    redis.sadd("probe", text.encode())
    found = matcher(pattern)(text.encode())
    # What is asked of Redis finds at least that.
    part, folds = plain_part(pattern)
    assert not found or part in (text.encode().lower() if folds else text.encode())
    # Of which bytes a range beyond ASCII consists depends on the server's machine; and of two stars
    # Redis says that they do not match an empty text.
    if text and (pattern.isascii() or "-" not in pattern):
        assert found == bool(redis.sscan("probe", match=pattern.encode())[1])


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        *(("[ab]x", "bx"), ("[ab]x", "cx"), ("[^a]x", "bx"), ("[^a]x", "ax"), ("[a-c]*", "b!")),
        *((r"\*", "*"), (r"\*", "a"), (r"*\[x\]*", "y[x]z"), (r"a\?", "ab"), ("[b-b]", "b")),
        *(("*a*a*", "aa"), ("a*a", "a"), ("*", ""), ("?", ""), ("", "")),
    ],
)
def test_classes_and_escapes_as_redis_does(redis: redis_py.Redis, pattern: str, text: str) -> None:
    redis.sadd("probe", text.encode())
    found = bool(redis.sscan("probe", match=pattern.encode())[1])
    assert matcher(pattern)(text.encode()) == found


@given(text=texts)
def test_an_escaped_text_matches_itself(text: str) -> None:
    assert matcher(f"*{escaped(text)}*")(f"x{text}y".encode())
    assert matcher(whole(escaped(text)))(text.encode())


def test_redis_is_asked_for_a_short_plain_text() -> None:
    for pattern in ("*" + "?" * 990 + "Q*", "*a*b*Q*", "a" * 990 + "b", "[aA]" * 200, "é" * 500):
        part, _ = plain_part(whole(pattern))
        assert 0 < len(part) <= MOST_SENT
    assert plain_part("*" + "?" * 990 + "Q*") == (b"Q", False)
    assert plain_part("*order*timeout*") == (b"timeout", False)
    assert plain_part("*[tT][iI]Me[oO]*x*") == (b"timeo", True)
    assert plain_part("[ab*") == plain_part("***") == plain_part("[a-c]" * 9) == (b"", False)
    assert plain_part(r"*a\*b[*]cc*") == (b"a*b", False)


@pytest.mark.parametrize("part", ["?" * 990 + "Q", "[a-c]" * 33, "a?" + "a" * 31, "?" * 33])
def test_a_part_that_would_be_slow_is_refused(redis: redis_py.Redis, part: str) -> None:
    api = Api(redis)
    for search in (api.dead.scan, api.queue("default").scan):
        for pattern in (part, f"class*{part}*b", f"*{part}"):
            with pytest.raises(ArgumentError, match="32 characters long, and one has"):
                search(pattern=pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 50 + "*b",
        "a" * 990 + "b",
        "a?" * (MOST_OPEN // 2 - 1) + "b",
        "[aA]" * (MOST_OPEN - 1) + "b",
        "*".join(["[a-c]" * (MOST_OPEN - 1)] * 100 + ["b"]),
    ],
)
def test_no_pattern_is_slow(pattern: str) -> None:
    """A million bytes take some milliseconds, or, where a part has ``?`` or a class, 0.2 s."""
    test = matcher(whole(pattern))
    began = time.thread_time()
    assert not test(b"a" * 1_000_000)
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    "pattern", ["*" + "?" * 20 + "Q*", "a" + "?" * 29 + "Q", "*a" * 400 + "Q", "a" * 990 + "Q"]
)
def test_no_search_keeps_the_server_busy(redis: redis_py.Redis, pattern: str) -> None:
    """By the time of its processor, which does not depend on what else the machine does."""
    api = Api(redis)
    args = ["a" * 2_000]
    redis.zadd("dead", {job(n, args=args): n for n in range(2_000)})
    began = redis.info("cpu")["used_cpu_user"]
    assert list(api.dead.scan(pattern=pattern)) == []
    assert redis.info("cpu")["used_cpu_user"] - began < 0.6


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*a?c*[x-z]*", {"abc, then y", "a-c z"}),
        (r'*args":\[?\],*Ok*', {7}),
        ("x" * 200, {"x" * 200}),
        ('*é*ü?"*', {"é, ü."}),
    ],
)
def test_a_set_and_a_queue_find_the_same(
    redis: redis_py.Redis, pattern: str, found: set[object]
) -> None:
    api = Api(redis)
    args = [7, "abc", "z", "abc, then y", "a-c z", "x" * 199, "x" * 200, "é, ü.", "éü"]
    raws = [encode_again({"args": [arg], "class": "Ok", "jid": arg}) for arg in args]
    push(api, "default", *raws)
    redis.zadd("dead", dict.fromkeys(raws, 1.0))
    for jobs in (api.dead, api.queue("default")):
        assert {job.args[0] for job in jobs.scan(pattern=pattern)} == found
