"""Commands on keys of any type, and on strings."""

from __future__ import annotations

import re
from functools import partial

from jobd.testing.memory.space import Space, command
from jobd.testing.memory.values import (
    NAMES,
    NO_KEY,
    NOT_INTEGER,
    OK,
    SYNTAX,
    Refused,
    Reply,
    Status,
    integer,
)


@command("DEL", 1, -1)
@command("UNLINK", 1, -1)
def delete(space: Space, words: list[bytes]) -> Reply:
    return sum(space.find(key) is not None and space.drop(key) for key in words)


@command("EXISTS", 1, -1)
def exists(space: Space, words: list[bytes]) -> Reply:
    return sum(space.find(key) is not None for key in words)


@command("TYPE", 1)
def kind(space: Space, words: list[bytes]) -> Reply:
    value = space.find(words[0])
    return Status(b"none" if value is None else NAMES[type(value)])


def _expire(factor: int, name: str, space: Space, words: list[bytes]) -> Reply:
    key, length = words
    span = integer(length) * factor
    now = space.clock() // 1000
    if not -(2**63) <= span + now < 2**63:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    if space.find(key) is None:
        return 0
    space.set_end(key, now + span)
    return 1


command("EXPIRE", 2)(partial(_expire, 1000, "expire"))
command("PEXPIRE", 2)(partial(_expire, 1, "pexpire"))


@command("PERSIST", 1)
def persist(space: Space, words: list[bytes]) -> Reply:
    if space.find(words[0]) is None or space.end(words[0]) is None:
        return 0
    space.set_end(words[0], None)
    return 1


@command("PTTL", 1)
def pttl(space: Space, words: list[bytes]) -> int:
    if space.find(words[0]) is None:
        return -2
    end = space.end(words[0])
    return -1 if end is None else end - space.clock() // 1000


@command("TTL", 1)
def ttl(space: Space, words: list[bytes]) -> Reply:
    left = pttl(space, words)
    return left if left < 0 else (left + 500) // 1000


def _rename(space: Space, source: bytes, target: bytes) -> None:
    value, end = space.find(source), space.end(source)
    space.drop(source)
    space.put(target, value)
    space.set_end(target, end)


@command("RENAME", 2)
def rename(space: Space, words: list[bytes]) -> Reply:
    if space.find(words[0]) is None:
        raise Refused(NO_KEY)
    _rename(space, *words)
    return OK


@command("RENAMENX", 2)
def rename_new(space: Space, words: list[bytes]) -> Reply:
    if space.find(words[0]) is None:
        raise Refused(NO_KEY)
    if space.find(words[1]) is not None:
        return 0
    _rename(space, *words)
    return 1


def pattern(glob: bytes) -> re.Pattern[bytes]:
    """A pattern of Redis as a regular expression."""
    parts = re.findall(rb"\\.|\[[^\]]*\]|.", glob, re.DOTALL)
    wild = {b"*": b".*", b"?": b"."}

    def part(word: bytes) -> bytes:
        if word in wild:
            return wild[word]
        if word.startswith(b"[") and len(word) > 1:
            return word
        return re.escape(word[-1:])

    return re.compile(b"".join(map(part, parts)), re.DOTALL)


def check_cursor(word: bytes) -> None:
    """Refuse what is no cursor; everything is found in one step."""
    if not word.isdigit():
        raise Refused("ERR invalid cursor")


def scan_options(options: list[bytes]) -> tuple[re.Pattern[bytes] | None, bytes | None]:
    """MATCH and TYPE of a SCAN; COUNT only says how much to do at once."""
    match = kind = None
    while options:
        name, *options = options
        if name.upper() not in (b"MATCH", b"COUNT", b"TYPE") or not options:
            raise Refused(SYNTAX)
        value, *options = options
        if name.upper() == b"MATCH":
            match = pattern(value)
        elif name.upper() == b"TYPE":
            kind = value.lower()
        elif integer(value) < 1:
            raise Refused(SYNTAX)
    return match, kind


@command("SCAN", 1, -1)
def scan(space: Space, words: list[bytes]) -> Reply:
    check_cursor(words[0])
    match, wanted = scan_options(words[1:])
    found = [
        key
        for key in space
        if (match is None or match.fullmatch(key))
        and (wanted is None or NAMES[type(space.find(key))] == wanted)
    ]
    return [b"0", found]


@command("DBSIZE", 0)
def size(space: Space, _words: list[bytes]) -> Reply:
    return sum(1 for _ in space)


@command("FLUSHDB", 0, 1)
@command("FLUSHALL", 0, 1)
def flush(space: Space, _words: list[bytes]) -> Reply:
    space.clear()
    return OK


@command("TIME", 0)
def time(space: Space, _words: list[bytes]) -> Reply:
    seconds, micros = divmod(space.clock(), 1_000_000)
    return [b"%d" % seconds, b"%d" % micros]


@command("PUBLISH", 2)
def publish(space: Space, words: list[bytes]) -> Reply:
    space.messages.append((words[0], words[1]))
    return 0


# -- strings ---------------------------------------------------------------------------------------


@command("GET", 1)
def get(space: Space, words: list[bytes]) -> Reply:
    return space.read(words[0], bytes)


@command("MGET", 1, -1)
def get_many(space: Space, words: list[bytes]) -> Reply:
    found = [space.find(key) for key in words]
    return [value if type(value) is bytes else None for value in found]


@command("SET", 2, -1)
def put(space: Space, words: list[bytes]) -> Reply:
    key, value, *options = words
    end: int | None = None
    known: set[bytes] = set()
    while options:
        name = options.pop(0).upper()
        if name in (b"EX", b"PX") and options and not known & {b"EX", b"PX", b"KEEPTTL"}:
            length = integer(options.pop(0))
            if length <= 0:
                raise Refused("ERR invalid expire time in 'set' command")
            end = space.clock() // 1000 + length * (1000 if name == b"EX" else 1)
        elif name not in (b"NX", b"XX", b"KEEPTTL"):
            raise Refused(SYNTAX)
        known.add(name)
    if {b"NX", b"XX"} <= known or (b"KEEPTTL" in known and end is not None):
        raise Refused(SYNTAX)
    there = space.find(key) is not None
    if (b"NX" in known and there) or (b"XX" in known and not there):
        return None
    space.put(key, value, keeps_end=b"KEEPTTL" in known)
    if end is not None:
        space.set_end(key, end)
    return OK


def added(before: bytes, amount: bytes, refusal: str = NOT_INTEGER) -> int:
    """The sum of a stored number and an amount."""
    more = integer(amount)
    value = integer(before, refusal) + more
    if not -(2**63) <= value < 2**63:
        raise Refused("ERR increment or decrement would overflow")
    return value


@command("INCRBY", 2)
def increase_by(space: Space, words: list[bytes]) -> Reply:
    integer(words[1])
    value = added(space.read(words[0], bytes) or b"0", words[1])
    space.put(words[0], b"%d" % value, keeps_end=True)
    return value


@command("INCR", 1)
def increase(space: Space, words: list[bytes]) -> Reply:
    return increase_by(space, [*words, b"1"])


@command("APPEND", 2)
def append(space: Space, words: list[bytes]) -> Reply:
    value = (space.read(words[0], bytes) or b"") + words[1]
    space.put(words[0], value, keeps_end=True)
    return len(value)
