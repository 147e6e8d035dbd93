"""Commands on sorted sets."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import partial

from jobd.testing.memory.keys import check_cursor, scan_options
from jobd.testing.memory.space import Space, command
from jobd.testing.memory.values import (
    SYNTAX,
    Refused,
    Reply,
    SortedSet,
    bounds,
    floating,
    integer,
    pairs,
    written,
)

_NO_BOUND = "ERR min or max is not a float"
_OPTIONS = (b"NX", b"XX", b"GT", b"LT", b"CH")


def _sorted(space: Space, key: bytes) -> SortedSet:
    return space.read(key, SortedSet) or SortedSet()


@command("ZADD", 3, -1)
def zadd(space: Space, words: list[bytes]) -> Reply:
    key, *rest = words
    options = set()
    while rest and rest[0].upper() in _OPTIONS:
        options.add(rest.pop(0).upper())
    if not rest or len(rest) % 2:
        raise Refused(SYNTAX)
    if {b"NX", b"XX"} <= options:
        raise Refused("ERR XX and NX options at the same time are not compatible")
    if len(options & {b"NX", b"GT", b"LT"}) > 1:
        raise Refused("ERR GT, LT, and/or NX options at the same time are not compatible")
    new = [(member, floating(score)) for score, member in pairs(rest)]
    if b"XX" in options and space.read(key, SortedSet) is None:
        return 0
    found = space.make(key, SortedSet)
    added = changed = 0
    for member, score in new:
        before = found.scores.get(member)
        if before is None:
            if b"XX" in options:
                continue
            added += 1
        elif (
            b"NX" in options
            or before == score
            or (b"GT" in options and score < before)
            or (b"LT" in options and score > before)
        ):
            continue
        else:
            changed += 1
        found.put(member, score)
    return added + changed if b"CH" in options else added


@command("ZREM", 2, -1)
def zrem(space: Space, words: list[bytes]) -> Reply:
    found = _sorted(space, words[0])
    removed = sum(found.remove(member) for member in words[1:])
    space.settle(words[0], found)
    return removed


def _score(found: SortedSet, member: bytes) -> bytes | None:
    score = found.scores.get(member)
    return None if score is None else written(score)


@command("ZSCORE", 2)
def zscore(space: Space, words: list[bytes]) -> Reply:
    return _score(_sorted(space, words[0]), words[1])


@command("ZMSCORE", 2, -1)
def zscores(space: Space, words: list[bytes]) -> Reply:
    found = _sorted(space, words[0])
    return [_score(found, member) for member in words[1:]]


@command("ZRANK", 2)
def zrank(space: Space, words: list[bytes]) -> Reply:
    found = _sorted(space, words[0])
    score = found.scores.get(words[1])
    return None if score is None else bisect_left(found.order, (score, words[1]))


@command("ZCARD", 1)
def zcard(space: Space, words: list[bytes]) -> Reply:
    return len(_sorted(space, words[0]))


Bound = tuple[float, bool]
"""A score, and whether entries with just that one are outside."""


def _bound(word: bytes) -> Bound:
    outside = word.startswith(b"(")
    return floating(word[outside:] or b"0", _NO_BOUND), outside


def _between(found: SortedSet, low: Bound, high: Bound) -> tuple[int, int]:
    """The places of the entries with scores between two bounds, as a slice."""

    def score(entry: tuple[float, bytes]) -> float:
        return entry[0]

    cut = bisect_right if low[1] else bisect_left
    first = cut(found.order, low[0], key=score)
    cut = bisect_left if high[1] else bisect_right
    return first, max(first, cut(found.order, high[0], key=score))


@command("ZCOUNT", 3)
def zcount(space: Space, words: list[bytes]) -> Reply:
    low, high = _bound(words[1]), _bound(words[2])
    first, past = _between(_sorted(space, words[0]), low, high)
    return past - first


def _told(entries: list[tuple[float, bytes]], scores: bool) -> list[bytes]:
    if not scores:
        return [member for _, member in entries]
    return [word for score, member in entries for word in (member, written(score))]


def _limited(
    found: SortedSet, first: int, past: int, reverse: bool, limit: tuple[int, int]
) -> list[tuple[float, bytes]]:
    offset, count = limit
    if offset < 0:
        return []
    part = found.order[first:past]
    if reverse:
        part.reverse()
    return part[offset : None if count < 0 else offset + count]


def _range(by_score: bool, reverse: bool, space: Space, words: list[bytes]) -> Reply:
    """ZRANGE with its options, and the older names of what it does."""
    key, start, stop, *options = words
    scores, limit = False, None
    flexible = not by_score and not reverse
    while options:
        name = options.pop(0).upper()
        if name == b"WITHSCORES":
            scores = True
        elif name == b"LIMIT" and len(options) >= 2 and (by_score or flexible):
            limit = integer(options.pop(0)), integer(options.pop(0))
        elif flexible and name == b"BYSCORE":
            by_score = True
        elif flexible and name == b"REV":
            reverse = True
        else:
            raise Refused(SYNTAX)
    if limit is not None and not by_score:
        raise Refused(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if by_score:
        low, high = (stop, start) if reverse else (start, stop)
        limits = _bound(low), _bound(high)
        found = _sorted(space, key)
        first, past = _between(found, *limits)
    else:
        places = integer(start), integer(stop)
        found = _sorted(space, key)
        first, past = bounds(*places, len(found))
        if reverse:
            first, past = len(found) - past, len(found) - first
    return _told(_limited(found, first, past, reverse, limit or (0, -1)), scores)


command("ZRANGE", 3, -1)(partial(_range, False, False))
command("ZREVRANGE", 3, -1)(partial(_range, False, True))
command("ZRANGEBYSCORE", 3, -1)(partial(_range, True, False))
command("ZREVRANGEBYSCORE", 3, -1)(partial(_range, True, True))


def _remove(space: Space, key: bytes, found: SortedSet, first: int, past: int) -> int:
    gone = found.order[first:past]
    del found.order[first:past]
    for _, member in gone:
        del found.scores[member]
    space.settle(key, found)
    return len(gone)


@command("ZREMRANGEBYRANK", 3)
def zrem_by_rank(space: Space, words: list[bytes]) -> Reply:
    places = integer(words[1]), integer(words[2])
    found = _sorted(space, words[0])
    return _remove(space, words[0], found, *bounds(*places, len(found)))


@command("ZREMRANGEBYSCORE", 3)
def zrem_by_score(space: Space, words: list[bytes]) -> Reply:
    limits = _bound(words[1]), _bound(words[2])
    found = _sorted(space, words[0])
    return _remove(space, words[0], found, *_between(found, *limits))


@command("ZSCAN", 2, -1)
def zscan(space: Space, words: list[bytes]) -> Reply:
    check_cursor(words[1])
    entries = _sorted(space, words[0]).order
    match, _ = scan_options(words[2:] if entries else [])
    if match is not None:
        entries = [entry for entry in entries if match.fullmatch(entry[1])]
    return [b"0", _told(entries, True)]
