"""Patterns mean in a queue what they mean in a set, where Redis itself looks."""

from __future__ import annotations

import time

import pytest
import redis as redis_py
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobd.api.glob import escaped, matcher, whole

patterns = st.text("ab*?[]^-\\é", max_size=8)
texts = st.text("ab*?[]^-\\é", max_size=10)


@given(pattern=patterns, text=texts)
@example(pattern="*[b-a]*", text="b")
@example(pattern="a*b*", text="aab")
@example(pattern="[^a]b", text="bb")
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_as_redis_does(redis: redis_py.Redis, pattern: str, text: str) -> None:
    # What Redis makes of an unfinished or an empty class, or a range with a backslash, is its
    # own affair.
    if "\\" in pattern or "[" in pattern:
        return
    redis.delete("probe")
    redis.sadd("probe", text.encode())
    found = bool(redis.sscan("probe", match=pattern.encode())[1])
    assert matcher(pattern)(text.encode()) == found


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


def test_no_pattern_is_slow() -> None:
    began = time.perf_counter()
    assert not matcher("*a" * 50 + "*b")(b"a" * 1_000_000)
    assert time.perf_counter() - began < 5
