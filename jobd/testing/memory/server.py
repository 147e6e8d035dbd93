"""The server in memory: takes commands and replies to them, one at a time.

It knows the commands that jobd sends. Others are errors that name them, so that nobody takes
it for a whole Redis.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobd.testing.memory import bits, hashes, keys, lists, sorted_sets, streams
from jobd.testing.memory.scripting import Interpreter
from jobd.testing.memory.space import COMMANDS, Space
from jobd.testing.memory.values import OK, Refused, Reply, Status, integer

FAMILIES = (bits, hashes, keys, lists, sorted_sets, streams)
"""The modules that fill the table of commands."""

VERSION = b"7.2.0"
"""Of Redis; what the commands in here are like."""

_INFO = b"""redis_version:%b\r
redis_mode:standalone\r
uptime_in_seconds:1\r
connected_clients:1\r
used_memory:1000000\r
used_memory_human:1M\r
used_memory_peak:1000000\r
maxmemory:0\r
maxmemory_policy:noeviction\r
mem_fragmentation_ratio:1\r
loading:0\r
aof_enabled:0\r
rdb_last_bgsave_status:ok\r
"""

_interpreter: Interpreter | None = None
_lock = threading.RLock()
"""Held while a command runs: it may come from any thread, and there is one interpreter."""


def _shared() -> Interpreter:
    global _interpreter
    if _interpreter is None:
        _interpreter = Interpreter(run)
    return _interpreter


def run(space: Space, words: list[bytes]) -> Reply:
    """Run a command of the table, or one that scripts may call as well.

    Raises:
        Refused: the server does not know it, or it has failed.
    """
    if not words:
        raise Refused("ERR Please specify at least one argument for this redis.call() call")
    name = words[0] if words[0] in COMMANDS else words[0].upper()
    found = COMMANDS.get(name)
    if found is None:
        raise Refused(
            f"ERR unknown command '{_text(words[0])}': the world of jobd.testing knows only the "
            f"commands that jobd sends"
        )
    arguments = words[1:]
    many = len(arguments)
    if many < found.least or (many > found.most >= 0):
        raise Refused(f"ERR wrong number of arguments for '{_text(words[0]).lower()}' command")
    return found.run(space, arguments)


def _text(word: bytes) -> str:
    return word[:100].decode(errors="replace")


class Server:
    """A server with one database.

    Args:
        clock: the time, in microseconds since 1970.

    Attributes:
        on_message: called with channel and message of what is published.
        dead_thread: what this thread sends is lost, as if its process had died; 0 for none.

    Raises:
        ConfigError: lupa is not installed.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.space = Space(clock)
        self.on_message: Callable[[bytes, bytes], None] = lambda _channel, _message: None
        self.dead_thread = 0
        self._scripts: set[bytes] = set()
        self._interpreter = _shared()
        self._own: dict[bytes, Callable[[list[bytes]], Reply]] = {
            b"EVALSHA": self._evalsha,
            b"EVAL": self._eval,
            b"SCRIPT": self._script,
            b"PING": lambda words: words[0] if words else Status(b"PONG"),
            b"SELECT": self._select,
            b"HELLO": self._hello,
            b"INFO": lambda _words: _INFO % VERSION,
            b"CONFIG": self._config,
            b"CLIENT": lambda _words: OK,
        }

    def execute(self, words: list[bytes]) -> Reply:
        """Run a command.

        Raises:
            Refused: an error reply.
        """
        with _lock:
            own = self._own.get(words[0].upper())
            if own is not None:
                return own(words[1:])
            return run(self.space, words)

    def deliver(self) -> None:
        """Pass on what has been published; the commands that did are done."""
        while self.space.messages:
            self.on_message(*self.space.messages.pop(0))

    # -- scripts ---------------------------------------------------------------------------------

    def _script(self, words: list[bytes]) -> Reply:
        match [words[0].upper(), *words[1:]] if words else []:
            case [b"LOAD", source]:
                return self._loaded(source)
            case [b"EXISTS", *digests]:
                return [int(digest in self._scripts) for digest in digests]
            case [b"FLUSH", *_]:
                self._scripts.clear()
                return OK
        raise Refused("ERR unknown subcommand or wrong number of arguments for 'script'")

    def _loaded(self, source: bytes) -> bytes:
        digest = self._interpreter.compile(source)
        self._scripts.add(digest)
        return digest

    def _eval(self, words: list[bytes]) -> Reply:
        digest = self._loaded(words[0]) if words else b""
        return self._evalsha([digest, *words[1:]])

    def _evalsha(self, words: list[bytes]) -> Reply:
        if len(words) < 2:
            raise Refused("ERR wrong number of arguments for 'evalsha' command")
        digest, many, *rest = words
        if digest not in self._scripts:
            raise Refused("NOSCRIPT No matching script.")
        number = integer(many)
        if not 0 <= number <= len(rest):
            raise Refused("ERR Number of keys can't be greater than number of args")
        return self._interpreter.run(self.space, digest, rest[:number], rest[number:])

    # -- connections -----------------------------------------------------------------------------

    @staticmethod
    def _select(words: list[bytes]) -> Reply:
        if words != [b"0"]:
            raise Refused("ERR DB index is out of range: a world has one database")
        return OK

    @staticmethod
    def _hello(_words: list[bytes]) -> Reply:
        fields: dict[bytes, Reply] = {
            b"server": b"redis",
            b"version": VERSION,
            b"proto": 2,
            b"mode": b"standalone",
        }
        told: list[Reply] = []
        for name, value in fields.items():
            told += (name, value)
        return told

    @staticmethod
    def _config(words: list[bytes]) -> Reply:
        if not words or words[0].upper() != b"GET":
            raise Refused("ERR a world has no configuration to change")
        known = {b"maxmemory-policy": b"noeviction", b"appendonly": b"no", b"save": b""}
        return [word for name in words[1:] if name in known for word in (name, known[name])]
