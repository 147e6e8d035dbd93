"""Commands on lists."""

from __future__ import annotations

from functools import partial
from itertools import islice

from jobd.testing.memory.space import Space, command
from jobd.testing.memory.values import (
    NO_KEY,
    OK,
    SYNTAX,
    List,
    Refused,
    Reply,
    bounds,
    integer,
)

_NOT_POSITIVE = "ERR value is out of range, must be positive"


def _list(space: Space, key: bytes) -> List:
    return space.read(key, List) or List()


@command("LPUSH", 2, -1)
def lpush(space: Space, words: list[bytes]) -> Reply:
    found = space.make(words[0], List)
    found.extendleft(words[1:])
    return len(found)


@command("RPUSH", 2, -1)
def rpush(space: Space, words: list[bytes]) -> Reply:
    found = space.make(words[0], List)
    found.extend(words[1:])
    return len(found)


def _pop(left: bool, space: Space, words: list[bytes]) -> Reply:
    count = None
    if len(words) > 1:
        count = integer(words[1], _NOT_POSITIVE)
        if count < 0:
            raise Refused(_NOT_POSITIVE)
    found = space.read(words[0], List)
    if found is None:
        return None
    take = found.popleft if left else found.pop
    if count is None:
        taken: Reply = take()
    else:
        taken = [take() for _ in range(min(count, len(found)))]
    space.settle(words[0], found)
    return taken


command("LPOP", 1, 2)(partial(_pop, True))
command("RPOP", 1, 2)(partial(_pop, False))


@command("LLEN", 1)
def llen(space: Space, words: list[bytes]) -> Reply:
    return len(_list(space, words[0]))


@command("LRANGE", 3)
def lrange(space: Space, words: list[bytes]) -> Reply:
    first, last = integer(words[1]), integer(words[2])
    found = _list(space, words[0])
    first, past = bounds(first, last, len(found))
    if 2 * first > len(found):  # nearer to the end
        part = list(islice(reversed(found), len(found) - past, len(found) - first))
        return part[::-1]
    return list(islice(found, first, past))


@command("LINDEX", 2)
def lindex(space: Space, words: list[bytes]) -> Reply:
    found = space.read(words[0], List)
    if found is None:
        return None
    place = integer(words[1])
    return found[place] if -len(found) <= place < len(found) else None


@command("LSET", 3)
def lset(space: Space, words: list[bytes]) -> Reply:
    found = space.read(words[0], List)
    if found is None:
        raise Refused(NO_KEY)
    place = integer(words[1])
    if not -len(found) <= place < len(found):
        raise Refused("ERR index out of range")
    found[place] = words[2]
    return OK


@command("LREM", 3)
def lrem(space: Space, words: list[bytes]) -> Reply:
    key, count, value = words[0], integer(words[1]), words[2]
    found = space.read(key, List)
    if found is None:
        return 0
    most = abs(count) or len(found)
    kept, removed = List(), 0
    for item in reversed(found) if count < 0 else found:
        if item == value and removed < most:
            removed += 1
        else:
            kept.append(item)
    if removed:
        if count < 0:
            kept.reverse()
        found.clear()
        found.extend(kept)
        space.settle(key, found)
    return removed


@command("LTRIM", 3)
def ltrim(space: Space, words: list[bytes]) -> Reply:
    first, last = integer(words[1]), integer(words[2])
    found = space.read(words[0], List)
    if found is not None:
        first, past = bounds(first, last, len(found))
        kept = list(islice(found, first, past))
        found.clear()
        found.extend(kept)
        space.settle(words[0], found)
    return OK


@command("LMOVE", 4)
def lmove(space: Space, words: list[bytes]) -> Reply:
    source, target, start, end = words
    sides = (b"LEFT", b"RIGHT")
    if start.upper() not in sides or end.upper() not in sides:
        raise Refused(SYNTAX)
    found = space.read(source, List)
    if found is None:
        return None
    space.read(target, List)
    item = found.popleft() if start.upper() == b"LEFT" else found.pop()
    to = space.make(target, List)
    if end.upper() == b"LEFT":
        to.appendleft(item)
    else:
        to.append(item)
    space.settle(source, found)
    return item


@command("LPOS", 2, -1)
def lpos(space: Space, words: list[bytes]) -> Reply:
    key, value, *options = words
    most = 0
    while options:
        name, *options = options
        if name.upper() != b"MAXLEN" or not options:
            raise Refused(SYNTAX)
        most = integer(options.pop(0))
        if most < 0:
            raise Refused("ERR MAXLEN can't be negative")
    found = _list(space, key)
    for place, item in enumerate(islice(found, most or None)):
        if item == value:
            return place
    return None
