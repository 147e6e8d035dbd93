"""The commands of the store in memory, held against a real server: the same words, the same reply.

Errors count as well, with their texts: scripts and clients of jobd look at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.testing import EmbeddedServer
from jobd.testing.memory.connection import connect
from jobd.testing.memory.server import Server
from jobd.testing.memory.space import COMMANDS

NOW = 1_800_000_000_000_000

keys = st.sampled_from(["a", "b", "c"])
members = st.sampled_from(["x", "y", "z", "xy", "", "10", "-3", "\xff"])
fields = st.sampled_from(["f", "g", "h"])
whole = st.sampled_from(["0", "1", "2", "-1", "-2", "3", "100"])
numbers = st.one_of(
    whole, st.sampled_from(["1.5", "x", "", "01", "+1", " 1", "9223372036854775807"])
)
scores = st.sampled_from(
    ["0", "1", "1.5", "-2", "1e3", "1800000000.123456", "0.1", "inf", "-inf", "nan", "x", "1e-7"]
)
limits = st.one_of(scores, st.sampled_from(["(1", "(1.5", "-inf", "+inf", "(x", "("]))
bit_types = st.sampled_from(["u1", "u3", "u4", "u8", "u13"])
places = st.sampled_from(["0", "1", "4", "#1", "#3", "13", "-1", "#-1", "x", "4294967296"])
sides = st.sampled_from(["LEFT", "RIGHT", "left", "UP"])


def words(*parts: Any) -> st.SearchStrategy[tuple[str, ...]]:
    """A command: words, strategies of words, and strategies of tuples of words."""
    made = [st.just((part,)) if isinstance(part, str) else part for part in parts]
    return st.tuples(*made).map(
        lambda found: tuple(
            word for part in found for word in ((part,) if isinstance(part, str) else part)
        )
    )


def many(strategy: Any, least: int = 1, most: int = 4) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(strategy, min_size=least, max_size=most).map(
        lambda found: tuple(
            word for part in found for word in ((part,) if isinstance(part, str) else part)
        )
    )


def maybe(*options: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([(), *options])


def one_of(*names: str) -> st.SearchStrategy[str]:
    return st.sampled_from(names)


commands = st.one_of(
    words(one_of("DEL", "UNLINK", "EXISTS"), many(keys)),
    words(one_of("TYPE", "PERSIST", "TTL", "GET", "INCR"), keys),
    words(one_of("EXPIRE", "PEXPIRE"), keys, one_of("0", "-1", "500000", "x", "1.5")),
    words(one_of("RENAME", "RENAMENX"), keys, keys),
    words("MGET", many(keys)),
    words(
        "SET", keys, numbers, maybe(("NX",), ("XX",), ("EX", "500"), ("KEEPTTL",), ("EX",), ("Q",))
    ),
    words("SET", keys, members, maybe(("NX", "XX"), ("PX", "0"), ("EX", "5", "KEEPTTL"))),
    words("INCRBY", keys, numbers),
    words("STRLEN", keys),
    words("GETRANGE", keys, whole, whole),
    words("SETRANGE", keys, whole, members),
    words("BITFIELD", keys, "GET", bit_types, places),
    words("BITFIELD", keys, many(st.tuples(st.just("SET"), bit_types, places, whole), 1, 3)),
    words("BITFIELD", keys, one_of("SET", "Q"), one_of("u4", "i99", "x"), maybe(("0", "1"))),
    words("HSET", keys, many(st.tuples(fields, numbers), 1, 3)),
    words("HSET", keys, fields),
    words("HSETNX", keys, fields, numbers),
    words(one_of("HGET", "HEXISTS"), keys, fields),
    words(one_of("HDEL", "HMGET"), keys, many(fields)),
    words(one_of("HGETALL", "HKEYS", "HVALS", "HLEN", "SMEMBERS", "SCARD"), keys),
    words(one_of("LLEN", "ZCARD", "XLEN"), keys),
    words("HINCRBY", keys, fields, numbers),
    words(one_of("HSCAN", "SSCAN", "ZSCAN"), keys, one_of("0", "q"), maybe(("COUNT", "5"))),
    words(one_of("HSCAN", "ZSCAN"), keys, "0", maybe(("MATCH", "[xf]*"), ("COUNT", "0"), ("Q",))),
    words(one_of("SADD", "SREM"), keys, many(members)),
    words("SISMEMBER", keys, members),
    words(one_of("LPUSH", "RPUSH"), keys, many(members)),
    words(one_of("LPOP", "RPOP"), keys, maybe(("0",), ("1",), ("2",), ("10",), ("-1",), ("x",))),
    words(one_of("LRANGE", "LTRIM"), keys, whole, whole),
    words("LRANGE", keys, numbers, numbers),
    words("LINDEX", keys, numbers),
    words("LSET", keys, numbers, members),
    words("LREM", keys, numbers, members),
    words("LMOVE", keys, keys, sides, sides),
    words("LPOS", keys, members, maybe(("MAXLEN", "1"), ("MAXLEN", "-1"), ("MAXLEN",))),
    words(
        "ZADD",
        keys,
        maybe(("NX",), ("XX",), ("GT",), ("LT", "CH"), ("NX", "XX"), ("GT", "NX")),
        many(st.tuples(scores, members), 1, 3),
    ),
    words("ZADD", keys, many(st.tuples(one_of("1", "2", "2.5"), members), 1, 3)),
    words("ZREM", keys, many(members)),
    words(one_of("ZSCORE", "ZRANK"), keys, members),
    words("ZMSCORE", keys, many(members)),
    words(one_of("ZCOUNT", "ZREMRANGEBYSCORE"), keys, limits, limits),
    words("ZRANGE", keys, numbers, numbers, maybe(("WITHSCORES",), ("REV",), ("LIMIT", "0", "1"))),
    words(
        "ZRANGE",
        keys,
        limits,
        limits,
        "BYSCORE",
        maybe(("LIMIT", "1", "2"), ("REV",), ("WITHSCORES",), ("LIMIT", "-1", "1"), ("LIMIT", "0")),
    ),
    words("ZREVRANGE", keys, numbers, numbers, maybe(("WITHSCORES",), ("Q",))),
    words(
        one_of("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"),
        keys,
        limits,
        limits,
        maybe(("WITHSCORES",), ("LIMIT", "0", "2"), ("LIMIT", "0", "-1"), ("LIMIT",)),
    ),
    words("ZREMRANGEBYRANK", keys, numbers, numbers),
    words(
        "XADD",
        keys,
        maybe(("MAXLEN", "2")),
        one_of("1-1", "2-0", "3-5", "x"),
        many(st.just(("f", "v"))),
    ),
    words("XADD", keys, "*", "f"),
    words("XDEL", keys, many(one_of("1-1", "2-0", "x"), 1, 2)),
    words(
        one_of("XRANGE", "XREVRANGE"),
        keys,
        one_of("-", "+", "2", "(1-1", "x"),
        one_of("-", "+", "2", "(3-5"),
        maybe(("COUNT", "1"), ("COUNT",)),
    ),
    words(one_of("DBSIZE", "PING", "NOPE", "GET", "HSET")),
    words("SCAN", "0", maybe(("MATCH", "[ab]"), ("TYPE", "hash"))),
)

UNORDERED = {"SMEMBERS", "HGETALL", "HKEYS", "HVALS"}


def ask(connection: Any, command: tuple[str, ...]) -> Any:
    """The reply; of an error its text, of what has no order the sorted one."""
    connection.send_command(*(word.encode("latin-1") for word in command))
    try:
        told = connection.read_response(disable_decoding=True)
    except redis_py.ResponseError as error:
        text = str(error)
        return "error", type(error).__name__, text.partition(",")[0] if "unknown" in text else text
    if command[0] in UNORDERED and isinstance(told, list):
        if command[0] == "HGETALL":
            return sorted(zip(told[::2], told[1::2], strict=True))
        return sorted(told)
    if command[0] in ("SCAN", "SSCAN"):
        return [told[0], sorted(told[1])]
    if command[0] == "TTL" and told > 0:
        return "a time"
    return told


@pytest.fixture(scope="module")
def pair(server: EmbeddedServer) -> Iterator[tuple[Any, Any]]:
    """Connections to both."""
    real = redis_py.Redis.from_url(server.url, protocol=2, socket_timeout=30)
    ours = connect(Server(lambda: NOW))
    pools: list[Any] = [real.connection_pool, ours.connection_pool]
    yield pools[0].make_connection(), pools[1].make_connection()
    real.close()


@given(story=st.lists(commands, min_size=1, max_size=40))
@settings(max_examples=250, deadline=None)
def test_the_same_replies(pair: tuple[Any, Any], story: list[tuple[str, ...]]) -> None:
    real, ours = pair
    for connection in pair:
        ask(connection, ("FLUSHALL",))
    for command in story:
        theirs = ask(real, command)
        assert ask(ours, command) == _as_ours(theirs), command


def _as_ours(theirs: Any) -> Any:
    """The reply of the server, but for the text about an unknown command, which names the world."""
    if isinstance(theirs, tuple) and "unknown command" in theirs[2]:
        name = re.search("'(.*?)'", theirs[2])
        assert name
        known = "the world of jobd.testing knows only the commands that jobd sends"
        return "error", "ResponseError", f"unknown command '{name[1]}': {known}"
    return theirs


SCRIPTS = [
    "return {1, 'a', false, {2, 3.7}, nil, 4}",
    "return {true, {ok='FINE'}, 1e3}",
    "return redis.call('TYPE', KEYS[1])",
    "return redis.pcall('LPUSH', 'text', 'x')",
    "return redis.call('LPUSH', 'text', 'x')",
    "return {pcall(redis.call, 'LPUSH', 'text', 'x')}",
    "local ok, err = pcall(redis.call, 'LPUSH', 'text', 'x') return {type(err), err.err ~= nil}",
    "local ok, err = pcall(error, 'boom') return {type(err), err}",
    """redis.call('ZADD', 'z', 1/3, 'm', 2^53, 'n', -0.5, 'o')
    return redis.call('ZRANGE', 'z', 0, -1, 'WITHSCORES')""",
    "redis.call('SET', 'n', 1764489600.123456) return redis.call('GET', 'n')",
    "redis.call('SET', 'n', ARGV[1] + 1) return redis.call('GET', 'n')",
    "return tostring(ARGV[1] + 0.25) .. ' ' .. string.format('%.0f:%s %.6f', 7, 'q', 1/3)",
    "return redis.call('SET', 'n', true)",
    "return redis.call('SET', 'n', {})",
    "return redis.call('HMGET', 'hash', 'f', 'none', 'g')",
    "return redis.call('HGET', 'hash', 'none') == false and 1 or 0",
    "return #redis.call('HGETALL', 'none')",
    "return redis.call('RPOP', 'list', 10) or {}",
    "return redis.sha1hex('')",
    "return redis.error_reply('MY word')",
    "return redis.status_reply('HELLO')",
    "return cjson.encode({class = 'a/b\"\\127\\n'})",
    "return cjson.encode({1, 2, {}, {a = 1.5}})",
    """local job = cjson.decode(
      '{"jid":"a","n":[1,2.5,1e3],"no":null,"t":true,"big":12345678901234567890}')
    return {job.jid, #job.n, tostring(job.n[2]), type(job.no), tostring(job.no == cjson.null),
      tostring(job.t), string.format('%.14g', job.big), type(job.none)}""",
    "return {tostring((pcall(cjson.decode, '{')))}",
    "return {tostring((pcall(cjson.decode, '\"\\\\ud800\"')))}",
    "return cjson.decode('\"\\\\u00fc\"')",
    "return unpack({1, 2})",
    "return {string.match('3 4.5', '^(%d+) (%d+%.?%d*)$')}",
    """for _, word in ipairs(ARGV) do redis.call('RPUSH', 'list', word) end
    return redis.call('LRANGE', 'list', 0, -1)""",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts(pair: tuple[Any, Any], script: str) -> None:
    replies = []
    for connection in pair:
        for command in (("FLUSHALL",), ("SET", "text", "1"), ("HSET", "hash", "f", "1", "g", "2")):
            ask(connection, command)
        told = ask(connection, ("EVAL", script, "2", "text", "none", "41", "b"))
        if isinstance(told, tuple):
            told = (*told[:2], told[2].partition(" script:")[0])
        replies.append(told)
    assert replies[1] == replies[0]


def test_a_script_that_was_not_loaded_is_not_there(pair: tuple[Any, Any]) -> None:
    for connection in pair:
        assert ask(connection, ("EVALSHA", "0" * 40, "0"))[1] == "NoScriptError"
        digest = ask(connection, ("SCRIPT", "LOAD", "return 7"))
        assert ask(connection, ("EVALSHA", digest.decode(), "0")) == 7
        assert ask(connection, ("SCRIPT", "EXISTS", digest.decode(), "0" * 40)) == [1, 0]


def test_the_server_has_all_commands_of_the_memory(pair: tuple[Any, Any]) -> None:
    for name in COMMANDS:
        assert ask(pair[0], ("COMMAND", "INFO", name.decode())) != [None]
