"""Runs the Lua scripts of jobd, as they are shipped, on the key space in memory.

The interpreter is that of Redis, Lua 5.1, from the package lupa. What Redis adds to it is here:
``redis.call`` and its like, and the part of ``cjson`` that the scripts use. One interpreter serves
all worlds of a process, since compiling the scripts takes longer than most tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

from jobd.errors import ConfigError
from jobd.testing.memory.space import Space
from jobd.testing.memory.values import Refused, Reply, Status, written

Execute = Callable[[Space, list[bytes]], Reply]

_PRELUDE = rb"""
local raw, decode, encode, sha1, null = ...
local whole_pcall = pcall
local function told(done, failure, ...)
  if not done and type(failure) == 'table' and failure.err then failure = failure.err end
  return done, failure, ...
end
function pcall(...) return told(whole_pcall(...)) end -- as in Redis, which gives the text
redis = {LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3}
function redis.pcall(...) return raw(...) end
function redis.call(...)
  local reply = raw(...)
  if type(reply) == 'table' and reply.err then error(reply, 0) end
  return reply
end
function redis.error_reply(text) return {err = text} end
function redis.status_reply(text) return {ok = text} end
function redis.sha1hex(text) return sha1(text) end
function redis.log() end
cjson = {decode = decode, encode = encode, null = null}
local function guarded(name)
  return setmetatable({}, {__index = function(_, field)
    error('the world of jobd.testing does not have ' .. name .. '.' .. field .. ' for scripts', 0)
  end})
end
cmsgpack, struct, bit = guarded('cmsgpack'), guarded('struct'), guarded('bit')
return function(source) return loadstring(source, '@user_script') end,
  function(script, keys, arguments)
    KEYS, ARGV = keys, arguments
    return whole_pcall(script)
  end
"""


class _Null:
    """What ``null`` in JSON is to a script: neither nil nor a table."""


class Interpreter:
    """Lua, with the functions that scripts call.

    Args:
        execute: runs a command for a script.

    Raises:
        ConfigError: lupa is not installed.
    """

    def __init__(self, execute: Execute) -> None:
        try:
            lupa: Any = import_module("lupa.lua51")
        except ImportError as error:
            raise ConfigError(
                f"a world runs jobd's Lua scripts by the package lupa, which cannot be imported "
                f"({error}): pip install 'pyjobd[testing]'"
            ) from None
        self._lua = lupa.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._execute = execute
        self._space: Space | None = None
        self._compiled: dict[bytes, object] = {}
        self._null = _Null()
        start = self._lua.compile(_PRELUDE)
        self._load, self._run = start(self._raw, self._decode, self._encode, _sha1, self._null)

    def compile(self, source: bytes) -> bytes:
        """Compile a script, if that has not been done; returns its SHA-1.

        Raises:
            Refused: it is not valid Lua.
        """
        digest = _sha1(source)
        if digest not in self._compiled:
            made = self._load(source)
            if isinstance(made, tuple):
                text = made[1].decode(errors="replace")
                raise Refused(f"ERR Error compiling script (new function): {text}")
            self._compiled[digest] = made
        return digest

    def run(self, space: Space, digest: bytes, keys: list[bytes], arguments: list[bytes]) -> Reply:
        """Run a compiled script on *space*.

        Raises:
            Refused: it has raised an error.
        """
        table = self._lua.table_from
        before, self._space = self._space, space
        try:
            answer = self._run(self._compiled[digest], table(keys), table(arguments))
        finally:
            self._space = before
        if answer is True:  # it has returned nothing
            return None
        done, value, *_ = answer
        if not done:
            raise Refused(self._error(value))
        return self._reply(value)

    # -- from Lua to Python ----------------------------------------------------------------------

    def _error(self, value: Any) -> str:
        if isinstance(value, BaseException):
            raise value
        if isinstance(value, bytes):
            return f"ERR {value.decode(errors='replace')}"
        try:
            text = value[b"err"]
        except (TypeError, KeyError):
            text = None
        return text.decode(errors="replace") if isinstance(text, bytes) else "ERR unknown error"

    def _reply(self, value: Any) -> Reply:
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if isinstance(value, bytes):
            return value
        if isinstance(value, int | float):
            return int(value)
        if (text := value[b"err"]) is not None:
            raise Refused(text.decode(errors="replace"))
        if (text := value[b"ok"]) is not None:
            return Status(text)
        items: list[Reply] = []
        while (item := value[len(items) + 1]) is not None:
            items.append(self._reply(item))
        return items

    # -- what scripts call -----------------------------------------------------------------------

    def _raw(self, *words: object) -> object:
        assert self._space is not None
        try:
            told = self._execute(self._space, [_word(word) for word in words])
        except Refused as refused:
            return self._lua.table_from({b"err": str(refused).encode(errors="replace")})
        return self._value(told)

    def _value(self, told: Reply) -> object:
        if told is None:
            return False
        if isinstance(told, Status):
            return self._lua.table_from({b"ok": bytes(told)})
        if isinstance(told, bytes | int):
            return told
        return self._lua.table_from([self._value(each) for each in told])

    def _decode(self, text: bytes) -> object:
        # Numbers are doubles in Lua, and bytes need not be text.
        read = json.loads(text.decode(errors="surrogateescape"), parse_int=float)
        return self._table(read)

    def _table(self, read: object) -> object:
        if isinstance(read, str):
            return _bytes(read)
        if isinstance(read, dict):
            return self._lua.table_from(
                {_bytes(key): self._table(value) for key, value in read.items()}
            )
        if isinstance(read, list):
            return self._lua.table_from([self._table(value) for value in read])
        return self._null if read is None else read

    def _encode(self, value: object) -> bytes:
        text = json.dumps(self._plain(value), ensure_ascii=False, separators=(",", ":"))
        text = text.replace("/", "\\/").replace("\x7f", "\\u007f")
        return text.encode(errors="surrogateescape")

    def _plain(self, value: Any) -> object:
        if value is self._null or isinstance(value, bool | int | None):
            return None if value is self._null else value
        if isinstance(value, float):
            return json.loads(f"{value:.14g}")
        if isinstance(value, bytes):
            return value.decode(errors="surrogateescape")
        fields = dict(value.items())
        if fields and all(isinstance(key, int) for key in fields):
            return [self._plain(fields.get(place)) for place in range(1, max(fields) + 1)]
        return {self._plain(key): self._plain(item) for key, item in fields.items()}


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _sha1(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _word(word: object) -> bytes:
    if type(word) is bytes:
        return word
    if isinstance(word, int | float) and not isinstance(word, bool):
        return written(float(word))
    raise Refused("ERR Command arguments must be strings or integers")
