"""Commands on hashes and on sets."""

from __future__ import annotations

from jobd.testing.memory.keys import added, check_cursor, scan_options
from jobd.testing.memory.space import Space, command
from jobd.testing.memory.values import Hash, Members, Refused, Reply, integer, pairs


@command("HSET", 3, -1)
def hset(space: Space, words: list[bytes]) -> Reply:
    key, *fields = words
    if len(fields) % 2:
        raise Refused("ERR wrong number of arguments for 'hset' command")
    found = space.make(key, Hash)
    before = len(found)
    found.update(pairs(fields))
    return len(found) - before


@command("HSETNX", 3)
def hset_new(space: Space, words: list[bytes]) -> Reply:
    key, field, value = words
    found = space.make(key, Hash)
    if field in found:
        return 0
    found[field] = value
    return 1


def _hash(space: Space, key: bytes) -> Hash:
    return space.read(key, Hash) or Hash()


@command("HGET", 2)
def hget(space: Space, words: list[bytes]) -> Reply:
    return _hash(space, words[0]).get(words[1])


@command("HMGET", 2, -1)
def hget_many(space: Space, words: list[bytes]) -> Reply:
    found = _hash(space, words[0])
    return [found.get(field) for field in words[1:]]


@command("HGETALL", 1)
def hget_all(space: Space, words: list[bytes]) -> Reply:
    return [word for pair in _hash(space, words[0]).items() for word in pair]


@command("HKEYS", 1)
def hkeys(space: Space, words: list[bytes]) -> Reply:
    return list(_hash(space, words[0]))


@command("HVALS", 1)
def hvalues(space: Space, words: list[bytes]) -> Reply:
    return list(_hash(space, words[0]).values())


@command("HLEN", 1)
def hlen(space: Space, words: list[bytes]) -> Reply:
    return len(_hash(space, words[0]))


@command("HEXISTS", 2)
def hexists(space: Space, words: list[bytes]) -> Reply:
    return int(words[1] in _hash(space, words[0]))


@command("HDEL", 2, -1)
def hdel(space: Space, words: list[bytes]) -> Reply:
    found = _hash(space, words[0])
    removed = sum(found.pop(field, None) is not None for field in words[1:])
    space.settle(words[0], found)
    return removed


@command("HINCRBY", 3)
def hincrease(space: Space, words: list[bytes]) -> Reply:
    key, field, amount = words
    integer(amount)
    before = _hash(space, key).get(field, b"0")
    value = added(before, amount, "ERR hash value is not an integer")
    space.make(key, Hash)[field] = b"%d" % value
    return value


@command("HSCAN", 2, -1)
def hscan(space: Space, words: list[bytes]) -> Reply:
    check_cursor(words[1])
    found = _hash(space, words[0])
    match, _ = scan_options(words[2:] if found else [])
    wanted = [item for item in found.items() if match is None or match.fullmatch(item[0])]
    return [b"0", [word for pair in wanted for word in pair]]


# -- sets ------------------------------------------------------------------------------------------


def _members(space: Space, key: bytes) -> Members:
    return space.read(key, Members) or Members()


@command("SADD", 2, -1)
def sadd(space: Space, words: list[bytes]) -> Reply:
    found = space.make(words[0], Members)
    before = len(found)
    found.update(dict.fromkeys(words[1:]))
    return len(found) - before


@command("SREM", 2, -1)
def srem(space: Space, words: list[bytes]) -> Reply:
    found = _members(space, words[0])
    before = len(found)
    for member in words[1:]:
        found.pop(member, None)
    space.settle(words[0], found)
    return before - len(found)


@command("SISMEMBER", 2)
def sismember(space: Space, words: list[bytes]) -> Reply:
    return int(words[1] in _members(space, words[0]))


@command("SMEMBERS", 1)
def smembers(space: Space, words: list[bytes]) -> Reply:
    return list(_members(space, words[0]))


@command("SCARD", 1)
def scard(space: Space, words: list[bytes]) -> Reply:
    return len(_members(space, words[0]))


@command("SSCAN", 2, -1)
def sscan(space: Space, words: list[bytes]) -> Reply:
    check_cursor(words[1])
    found = _members(space, words[0])
    match, _ = scan_options(words[2:] if found else [])
    return [b"0", [member for member in found if match is None or match.fullmatch(member)]]
