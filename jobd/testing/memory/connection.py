"""Connections of redis-py to the server in memory, so that the library's clients work with it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, NoReturn

import hiredis
import redis

from jobd.store.connection import IDLE
from jobd.testing.memory.server import Server
from jobd.testing.memory.values import Refused, Reply


class Connection(redis.connection.AbstractConnection):
    """Hands commands over to a server in this process; the replies are read in their order."""

    def __init__(self, *, server: Server, **options: Any) -> None:
        super().__init__(**options)
        self._server = server
        self._replies: deque[Reply | Refused] = deque()
        self._reader = hiredis.Reader()

    def repr_pieces(self) -> list[tuple[str, object]]:
        return [("place", "memory")]

    def _connect(self) -> NoReturn:
        raise redis.ConnectionError("a world has no socket")

    def _host_error(self) -> str:
        return "memory"

    @property
    def is_connected(self) -> bool:
        return True

    def connect(self, *_arguments: object, **_options: object) -> None:
        pass

    def on_connect(self) -> None:
        pass

    def disconnect(self, *_arguments: object, **_options: object) -> None:
        self._replies.clear()
        self._reader = hiredis.Reader()

    def check_health(self) -> None:
        pass

    def can_read(self, *_arguments: object, **_options: object) -> bool:
        return bool(self._replies)

    def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes | str],
        check_health: bool = True,  # noqa: ARG002
    ) -> None:
        if self._server.dead_thread == threading.get_ident():
            raise redis.ConnectionError("the worker that sent this has died")
        reader = self._reader
        for part in [command] if isinstance(command, bytes | str) else command:
            reader.feed(part)
        while (words := reader.gets()) is not False:
            try:
                self._replies.append(self._server.execute(words))
            except Refused as refused:
                self._replies.append(refused)
        if self._server.space.messages:
            try:
                self._server.deliver()
            except BaseException:  # it has interrupted the job that has sent this
                self.disconnect()
                raise

    def send_command(self, *words: object, **_options: object) -> None:
        self.send_packed_command(self._command_packer.pack(*words))

    def read_response(self, *_arguments: object, **_options: object) -> object:
        if not self._replies:
            raise redis.ConnectionError("nothing has been asked")
        told = self._replies.popleft()
        if isinstance(told, Refused):
            raise self._parser.parse_error(str(told))
        return told


class Pool(redis.ConnectionPool):
    """As the pools of :mod:`jobd.store.connection`; nothing is ever idle for too long."""

    idle_limit = IDLE


def connect(server: Server) -> redis.Redis:
    """A client of *server*."""
    pool = Pool(connection_class=Connection, server=server, protocol=2, max_connections=2**31, db=0)
    made: redis.Redis = redis.Redis.from_pool(pool)
    return made
