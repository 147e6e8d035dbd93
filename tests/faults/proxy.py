"""A network that can be slow, or go dead without a word: a TCP proxy in front of the server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from types import TracebackType

_CHUNK = 1 << 16


class Proxy:
    """Forwards connections to 127.0.0.1:*target*.

    Attributes:
        delay: seconds that everything takes in each direction; half a round trip.
        dark: new connections are taken, and nothing on them is forwarded, then or later.
        forgets: seconds of silence after which a connection is forgotten, as firewalls do: nothing
            on it is forwarded any more, and nobody is told.
        forgotten: how many have been.

    Example:
        >>> with Proxy(6379) as proxy:  # doctest: +SKIP
        ...     proxy.delay = 0.025
        ...     redis.Redis.from_url(proxy.url).ping()
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.delay = delay
        self.dark = False
        self.forgets = float("inf")
        self.forgotten = 0
        self.connections = 0
        self._heard: dict[int, float] = {}
        self._target = target
        self._port = 0
        self._room: dict[int, int] = {}
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def cut(self, after: int = 0) -> None:
        """Forward nothing more on the connections of now, or no more than so many bytes, and do not
        close them."""
        self._room |= dict.fromkeys(range(self.connections), after)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        if self.dark:
            self._room[number] = 0
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers += (writer, back)
        for source, target in ((reader, back), (there, writer)):
            arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._read(source, arriving), self._write(number, arriving, target)):
                pump = asyncio.ensure_future(work)
                self._pumps.add(pump)
                pump.add_done_callback(self._pumps.discard)

    async def _read(
        self, source: asyncio.StreamReader, arriving: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        data = b"-"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = b""
            arriving.put_nowait((time.monotonic() + self.delay, data))

    def _remember(self, number: int) -> None:
        now = time.monotonic()
        if now - self._heard.get(number, now) > self.forgets and number not in self._room:
            self._room[number] = 0
            self.forgotten += 1
        self._heard[number] = now

    async def _write(
        self,
        number: int,
        arriving: asyncio.Queue[tuple[float, bytes]],
        target: asyncio.StreamWriter,
    ) -> None:
        while True:
            due, data = await arriving.get()
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            self._remember(number)
            if number in self._room:
                data = data[: self._room[number]]
                self._room[number] -= len(data)
                if not data:
                    continue
            if not data:
                target.close()
                return
            target.write(data)
