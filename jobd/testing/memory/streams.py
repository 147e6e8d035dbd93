"""Commands on streams, for the audit log."""

from __future__ import annotations

from functools import partial

from jobd.testing.memory.space import Space, command
from jobd.testing.memory.values import SYNTAX, Refused, Reply, Stream, integer

Id = tuple[int, int]
_NO_ID = "ERR Invalid stream ID specified as stream command argument"
_LAST = 2**64 - 1


def _id(word: bytes, rest: int = 0) -> Id:
    """An id; *rest* is its second half, where it has none."""
    whole, dash, second = word.partition(b"-")
    if not whole.isdigit() or (dash and not second.isdigit()):
        raise Refused(_NO_ID)
    return int(whole), int(second) if dash else rest


def _text(key: Id) -> bytes:
    return b"%d-%d" % key


@command("XADD", 4, -1)
def xadd(space: Space, words: list[bytes]) -> Reply:
    key, *rest = words
    most = None
    if rest[0].upper() == b"MAXLEN":
        rest.pop(0)
        if rest[0] in (b"~", b"="):
            rest.pop(0)
        most = integer(rest.pop(0))
    wanted, *fields = rest
    if not fields or len(fields) % 2:
        raise Refused("ERR wrong number of arguments for 'xadd' command")
    given = None if wanted == b"*" else _id(wanted)
    stream = space.read(key, Stream) or Stream()
    now = space.clock() // 1000
    last = stream.last
    new = given or ((now, 0) if now > last[0] else (last[0], last[1] + 1))
    if new <= last:
        raise Refused(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        )
    stream = space.make(key, Stream)
    stream.entries[new] = fields
    stream.last = new
    while most is not None and len(stream.entries) > most:
        del stream.entries[next(iter(stream.entries))]
    return _text(new)


@command("XLEN", 1)
def xlen(space: Space, words: list[bytes]) -> Reply:
    stream = space.read(words[0], Stream)
    return 0 if stream is None else len(stream.entries)


@command("XDEL", 2, -1)
def xdel(space: Space, words: list[bytes]) -> Reply:
    stream = space.read(words[0], Stream)
    if stream is None:
        return 0
    ids = [_id(word) for word in words[1:]]
    return sum(stream.entries.pop(each, None) is not None for each in ids)


def _edge(word: bytes, *, low: bool) -> Id:
    outside = word.startswith(b"(")
    word = word[1:] if outside else word
    if word in (b"-", b"+"):
        return (0, 0) if word == b"-" else (_LAST, _LAST)
    whole, rest = _id(word, 0 if low else _LAST)
    if outside:
        return (whole, rest + 1) if low else (whole, rest - 1)
    return whole, rest


def _range(reverse: bool, space: Space, words: list[bytes]) -> Reply:
    key, start, stop, *options = words
    first, last = (stop, start) if reverse else (start, stop)
    low, high = _edge(first, low=True), _edge(last, low=False)
    count = None
    if options:
        if len(options) != 2 or options[0].upper() != b"COUNT":
            raise Refused(SYNTAX)
        count = max(0, integer(options[1]))
    stream = space.read(key, Stream) or Stream()
    found: list[Reply] = [
        [_text(key), fields] for key, fields in stream.entries.items() if low <= key <= high
    ]
    if reverse:
        found.reverse()
    return found[:count]


command("XRANGE", 3, 5)(partial(_range, False))
command("XREVRANGE", 3, 5)(partial(_range, True))
