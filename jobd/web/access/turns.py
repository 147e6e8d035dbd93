"""Requests that read jobs take turns: so many at once, and of one address half of them at most.

Each may hold some megabytes of jobs and a thread; without turns, forty large pages at once would be
gigabytes, and whoever asks for slow ones would keep all threads from the others. Who must wait,
waits without a thread, and not for long.
"""

from __future__ import annotations

from collections import Counter

import anyio
from anyio.lowlevel import RunVar
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobd.text.translatable import Text
from jobd.web.http_errors import NotNow
from jobd.web.mount import network, path_within

AT_ONCE = 16
"""Requests that work at once: with what one may read (:data:`jobd.api.reading.BYTES`), some 64 MB
of jobs. Python runs one at a time anyway, so more would only wait for each other."""

OF_ADDRESS = AT_ONCE // 2
"""The same of one address (of IPv6, one network), of which a trusted proxy says which it is."""

WAITING = 256
"""Requests that may wait, and of one address a quarter of them."""

WITHIN = 10.0
"""Seconds after which one that waits is refused."""

LARGE = 256 * 1024
"""Bytes of an answer that keeps its turn until it has been taken."""

_FREE = frozenset({"/live", "/healthz", "/readyz", "/login", "/logout"})


class Turns:
    """Middleware behind the gate, so that strangers take no turn."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Other servers than ours may have several event loops.
        self._rooms: RunVar[_Room] = RunVar("jobd.web.turns")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_within(scope) if scope["type"] == "http" else "/live"
        if path in _FREE or path.startswith("/static/"):
            await self._app(scope, receive, send)
            return
        room, source = self._room(), network(scope)
        await room.enter(source)
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                room.leave(source)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and _size(message) < LARGE:
                leave()
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            leave()

    def _room(self) -> _Room:
        try:
            return self._rooms.get()
        except LookupError:
            room = _Room()
            self._rooms.set(room)
            return room


class _Room:
    """Those of one event loop. Who waits is woken in the order of coming, as far as the shares of
    the addresses let him."""

    def __init__(self) -> None:
        self._working: Counter[str] = Counter()
        self._waiting: dict[anyio.Event, str] = {}

    async def enter(self, source: str) -> None:
        """
        Raises:
            NotNow: it takes too long, or too many wait already.
        """
        if self._is_free(source) and source not in self._waiting.values():
            self._working[source] += 1
            return
        mine = sum(one == source for one in self._waiting.values())
        if len(self._waiting) >= WAITING or mine >= WAITING // 4:
            raise _refusal()
        turn = anyio.Event()
        self._waiting[turn] = source
        try:
            with anyio.move_on_after(WITHIN):
                await turn.wait()
        except anyio.get_cancelled_exc_class():
            if turn.is_set():
                self.leave(source)
            raise
        finally:
            self._waiting.pop(turn, None)
        if not turn.is_set():
            raise _refusal()

    def leave(self, source: str) -> None:
        self._working[source] -= 1
        if not self._working[source]:
            del self._working[source]
        for turn, waits in list(self._waiting.items()):
            if self._is_free(waits):
                del self._waiting[turn]
                self._working[waits] += 1
                turn.set()

    def _is_free(self, source: str) -> bool:
        return self._working.total() < AT_ONCE and self._working[source] < OF_ADDRESS


def _size(start: Message) -> int:
    """Bytes of the answer that begins so; many if it does not say."""
    length = next((v for k, v in start.get("headers", ()) if k.lower() == b"content-length"), b"")
    return int(length) if length.isdigit() else LARGE


def _refusal() -> NotNow:
    return NotNow(Text("Too many requests are being answered. Try again in some seconds."))
