"""HTTP of ``jobd web``: that of uvicorn, which waits for ever for the end of a request's headers,
for the rest of a body that nobody wants any more, and for those who do not take their answer.

Whoever opens connections and sends or takes a byte a minute would have all our descriptors in the
end. Here each of these has its time, and connections are counted (:mod:`jobd.web.serving.crowd`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h11
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from jobd.web.mount import network
from jobd.web.serving import crowd

HEADERS_WITHIN = 15.0
"""Seconds within which the headers of a request must have come."""

REFUSED_WITHIN = 2.0
"""The same for a connection beyond the limit, which only waits to be told so."""

REST_WITHIN = 5.0
"""Seconds within which the rest of a body must have come once its request is answered. Before that
nothing is closed: whoever is told that he sends too much shall read it."""

TAKEN_WITHIN, LEAST_TAKEN = 30.0, 64 * 1024
"""Seconds within which so many bytes of an answer must have been taken, or all that is left."""

_report = crowd.Report()


class Protocol(H11Protocol):
    """One connection."""

    def __init__(self, *args: object, **given: object) -> None:
        super().__init__(*args, **given)  # type: ignore[arg-type]
        self._headers = _Deadline(self.loop, self._close_without_headers)
        self._rest = _Deadline(self.loop, self._close_without_rest)
        self._taking = _Deadline(self.loop, self._abort_unless_taken)
        self._left = 0
        self.address = ""
        """Who is at the other end, as it is counted; maybe a proxy."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = network({"client": self.client})
        beyond = crowd.beyond(len(self.connections), self._from_here())
        if beyond > 0:
            _report.say(getattr(one, "address", "") for one in self.connections)
        if beyond > min(crowd.SPARE, crowd.most_connections() // 4):
            transport.abort()
            return
        # So that we hear of each byte that is not taken, also of the last ones before the end.
        transport.set_write_buffer_limits(0)
        if beyond > 0:
            self.app = crowd.refuse
        self._headers.start(HEADERS_WITHIN if beyond <= 0 else REFUSED_WITHIN)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._headers.stop()
        elif data and not self._headers.running:
            # Of the next request some bytes are here, or of the last one all are; when nothing has
            # come since the answer, uvicorn has a time of its own.
            self._headers.start(HEADERS_WITHIN)
        if not self._owes_rest:
            self._rest.stop()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._owes_rest:
            self._rest.start(REST_WITHIN)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._left = self.transport.get_write_buffer_size()
        self._taking.start(TAKEN_WITHIN)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.stop()

    def send_400_response(self, msg: str) -> None:
        # Of one whose answer has begun nothing more can be said.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for deadline in (self._headers, self._rest, self._taking):
            deadline.stop()
        super().connection_lost(exc)

    def _from_here(self) -> int | None:
        """How many connections are from this address; None if it is a proxy that is believed."""
        app = self.config.loaded_app
        proxies = app.trusted_hosts if isinstance(app, ProxyHeadersMiddleware) else ()
        if self.client and self.client[0] in proxies:
            return None
        return sum(1 for one in self.connections if getattr(one, "address", "") == self.address)

    @property
    def _owes_rest(self) -> bool:
        """Whether its request is answered and has not come to its end."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _close_without_headers(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()

    def _close_without_rest(self) -> None:
        self.transport.close()

    def _abort_unless_taken(self) -> None:
        left = self.transport.get_write_buffer_size()
        if self._left - left >= LEAST_TAKEN:
            self._left = left
            self._taking.start(TAKEN_WITHIN)
        else:
            self.transport.abort()


class _Deadline:
    """A time after which something is done, unless it is stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
        self._loop = loop
        self._then = then
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, self._end)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _end(self) -> None:
        self._handle = None
        self._then()
