"""The life of every job, read from the server's append-only file.

That file has each change of the data in the order in which it happened, and the changes of one
script or transaction together. Replaying it shows every job at every moment: whether it was ever
nowhere or in two places, which worker claimed it and how often, and whether it came back after it
had ended.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hiredis

CLOCK = b"chaos:clock"
"""Set to the number of a tick every few moments, which dates what stands before and after."""

PERIODIC = b"jobd:periodic"
_TICKS = PERIODIC + b":"
_TOKEN = re.compile(rb"(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f])")
_SETS = (b"schedule", b"retry", b"dead")
_CHUNK = 1 << 20


@dataclass(slots=True)
class Life:
    """One job.

    Attributes:
        places: keys that hold it, after the last change.
        claims: by process id of the worker, how often it was filed as in flight there.
        ended: number of the last tick before it left Redis; None while it is there.
        raw: its bytes, after the last change.
    """

    places: list[bytes] = field(default_factory=list)
    claims: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    ended: int | None = None
    raw: bytes = b""


class History:
    """Replays an append-only file.

    Attributes:
        lives: every job that ever was in Redis, by token.
        faults: what must never happen, in words.
        ticks: what became of the ticks of each schedule, as JSON, by its key; None where a user has
            paused it.
    """

    def __init__(self, directory: Path) -> None:
        self.lives: dict[str, Life] = defaultdict(Life)
        self.faults: list[str] = []
        self.ticks: dict[bytes, list[bytes | None]] = defaultdict(list)
        self._lists: dict[bytes, deque[bytes]] = defaultdict(deque)
        self._hashes: dict[bytes, dict[bytes, bytes]] = defaultdict(dict)
        self._sets: dict[bytes, dict[bytes, None]] = {key: {} for key in _SETS}
        self._touched: set[str] = set()
        self._tick = 0
        in_transaction = False
        for command in _commands(directory):
            name = command[0].upper()
            if name == b"MULTI":
                in_transaction = True
            elif name == b"EXEC":
                in_transaction = False
            else:
                self._apply(name, command)
            if not in_transaction:
                self._settle()

    def _apply(self, name: bytes, command: list[bytes]) -> None:
        key = command[1] if len(command) > 1 else b""
        match name:
            case b"SET" if key == CLOCK:
                self._tick = int(command[2])
            case b"LPUSH" | b"RPUSH" if _is_list(key):
                for raw in command[2:]:
                    self._put(key, raw, left=name == b"LPUSH")
            case b"LPUSH" if key.startswith(_TICKS):
                self.ticks[key.removesuffix(b":ticks")] += command[2:]
            case b"ZADD" if key == PERIODIC and command[2] in (b"+inf", b"inf"):
                self.ticks[b"%b:%b" % (key, command[3])].append(None)
            case b"RPOP" | b"LPOP" if _is_list(key):
                # Asked for more than there is, it takes all.
                most = min(int(command[2]), len(self._lists[key])) if len(command) > 2 else 1
                for _ in range(most):
                    self._take(key, left=name == b"LPOP")
            case b"LMOVE":
                raw = self._take(key, left=command[3].upper() == b"LEFT")
                self._put(command[2], raw, left=command[4].upper() == b"LEFT")
            case b"HSET" | b"HMSET" if _is_hash(key):
                for tag, raw in zip(command[2::2], command[3::2], strict=True):
                    self._file(key, tag, raw)
            case b"HDEL" if _is_hash(key):
                for tag in command[2:]:
                    if (old := self._hashes[key].pop(tag, None)) is not None:
                        self._remove(old, key)
            case b"ZADD" if key in _SETS:
                for raw in command[3::2]:
                    if raw not in self._sets[key]:
                        self._sets[key][raw] = None
                        self._add(raw, key)
            case b"ZREM" if key in _SETS:
                for raw in command[2:]:
                    if raw in self._sets[key]:
                        del self._sets[key][raw]
                        self._remove(raw, key)
            case b"LSET" if _is_list(key):
                # A mark, which LREM takes out: it is no job.
                at = int(command[2])
                self._remove(self._lists[key][at], key)
                self._lists[key][at] = command[3]
            case b"LREM" if _is_list(key) and _TOKEN.search(command[3]) is None:
                while command[3] in self._lists[key]:
                    self._lists[key].remove(command[3])
            case b"DEL" | b"UNLINK":
                for gone in command[1:]:
                    self._delete(gone)
            case b"FLUSHALL" | b"FLUSHDB" | b"RENAME" | b"LTRIM" | b"LREM" | b"ZREMRANGEBYRANK":
                self.faults.append(f"{name.decode()} {key.decode()}: nobody should do that here")
            case _:
                pass

    def _put(self, key: bytes, raw: bytes, *, left: bool) -> None:
        (self._lists[key].appendleft if left else self._lists[key].append)(raw)
        self._add(raw, key)

    def _take(self, key: bytes, *, left: bool) -> bytes:
        raw = self._lists[key].popleft() if left else self._lists[key].pop()
        self._remove(raw, key)
        return raw

    def _file(self, key: bytes, tag: bytes, raw: bytes) -> None:
        if (old := self._hashes[key].get(tag)) is not None:
            self._remove(old, key)
        self._hashes[key][tag] = raw
        self._add(raw, key)
        owner = key.decode().split(":")
        self.lives[token_of(raw)].claims[int(owner[-2])] += 1

    def _delete(self, key: bytes) -> None:
        if _is_list(key):
            for raw in self._lists.pop(key, ()):
                self._remove(raw, key)
        elif _is_hash(key):
            for raw in self._hashes.pop(key, {}).values():
                self._remove(raw, key)
        elif key in _SETS:
            for raw in self._sets[key]:
                self._remove(raw, key)
            self._sets[key] = {}

    def _add(self, raw: bytes, key: bytes) -> None:
        jid = token_of(raw)
        life = self.lives[jid]
        life.places.append(key)
        life.raw = raw
        self._touched.add(jid)

    def _remove(self, raw: bytes, key: bytes) -> None:
        jid = token_of(raw)
        self.lives[jid].places.remove(key)
        self._touched.add(jid)

    def _settle(self) -> None:
        """A step is complete: look at what it changed."""
        for jid in self._touched:
            life = self.lives[jid]
            if len(life.places) > 1:
                self.faults.append(f"{jid} was in two places: {life.places}")
            elif life.places and life.ended is not None:
                self.faults.append(f"{jid} came back to {life.places[0].decode()} after its end")
            elif not life.places:
                life.ended = self._tick
        self._touched.clear()


def token_of(raw: bytes) -> str:
    """What tells the job with these bytes from all others: its jid, or what stands for one in bytes
    that have none.

    Raises:
        ValueError: there is nothing of the kind.
    """
    found = _TOKEN.search(raw)
    if found is None:
        raise ValueError(f"no token in {raw[:200]!r}")
    return found[0].decode()


def _is_list(key: bytes) -> bool:
    return key.startswith((b"queue:", b"jobd:claim:"))


def _is_hash(key: bytes) -> bool:
    return key.startswith(b"jobd:inflight:")


def _commands(directory: Path) -> Iterator[list[bytes]]:
    """All commands of the append-only file, whose parts are numbered."""
    parts = (directory / "appendonlydir").glob("*.incr.aof")
    for part in sorted(parts, key=lambda path: int(path.name.split(".")[-3])):
        reader = hiredis.Reader()
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                reader.feed(chunk)
                while (command := reader.gets()) is not False:
                    yield _checked(command)


def _checked(command: Any) -> list[bytes]:
    if not isinstance(command, list):
        raise TypeError(f"not a command: {command!r}")
    return command
