"""The server: a thread with an event loop of its own, so that no client delays the keeper.

Each connection gets one answer. Its request must have arrived within seconds and be small; beyond a
number of connections, the one that has waited longest for its request is closed, so that a probe
gets through whoever else connects. Of the requests that ask Redis some wait, and further ones are
refused. An address that cannot be listened on is tried again each second; the daemon does not end
because of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from jobd.keeper.health import http
from jobd.keeper.health.http import Answer
from jobd.runtime.log import log
from jobd.settings.listening import Address
from jobd.text.printable import text_of

PATIENCE = 5.0
"""Seconds for a request to arrive, and for its answer to be taken."""

THINKING = 15.0
"""Seconds for an answer to be made: more than one command of Redis may take."""

MOST_OPEN = 64
"""Connections at a time whose requests have not arrived yet."""

MOST_ASKING = 16
"""Requests at a time that ask Redis, until their answers have been taken: the keeper needs its
descriptors for other things."""

AGAIN = 1.0
"""Seconds between attempts to listen."""


class Listener(threading.Thread):
    """The thread.

    Args:
        address: where it listens.
        now: answers that need no I/O, by path; they are called on the event loop.
        slow: answers that ask Redis, by path; one at a time, in a thread beside it.
        on_state: called with why it does not listen, each time that changes; "" if it does.
    """

    def __init__(
        self,
        address: Address,
        now: dict[str, Callable[[], Answer]],
        slow: dict[str, Callable[[], Answer]],
        on_state: Callable[[str], None],
    ) -> None:
        super().__init__(name="health", daemon=True)
        self._address = address
        self._now = now
        self._slow = slow
        self._on_state = on_state
        self._log = log.get("jobd.health")
        self._listens = False
        self._beside = ThreadPoolExecutor(1, "health-answers")
        # Those whose request has not arrived yet, the first one first.
        self._waiting: dict[asyncio.StreamWriter, None] = {}
        self._asking: set[asyncio.StreamWriter] = set()

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - a bug of ours must not go unnoticed; logged
            self._log.exception("health_failed")
            self._on_state(f"internal error: {text_of(error)}; see the log")

    def close(self) -> None:
        """Remove the socket file, if it is ours; the process is about to exit."""
        if self._address.path and self._listens:
            with suppress(OSError):
                Path(self._address.path).unlink()

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._on_error)
        server = await self._listen()
        self._listens = True
        self._log.info("health_listening", address=str(self._address))
        async with server:
            await server.serve_forever()

    async def _listen(self) -> asyncio.Server:
        told = ""
        while True:
            try:
                server = await self._open()
            except OSError as error:
                why = reason(error)
                if why != told:
                    told = why
                    self._log.warning(
                        "health_not_listening",
                        address=str(self._address),
                        error=why,
                        advice="another process listens there, or this user may not: change the "
                        "setting health, or end the other process; jobs run meanwhile",
                    )
                    self._on_state(f"does not listen on {self._address} for health: {why}")
                await asyncio.sleep(AGAIN)
            else:
                if told:
                    self._on_state("")
                return server

    async def _open(self) -> asyncio.Server:
        address = self._address
        if not address.path:
            return await asyncio.start_server(
                self._on_connection, address.host, address.port, limit=http.MOST_HEAD
            )
        refuse_living(address.path)
        return await asyncio.start_unix_server(
            self._on_connection, address.path, limit=http.MOST_HEAD
        )

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._waiting[writer] = None
        if len(self._waiting) > MOST_OPEN:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.abort()
        try:
            answer = await self._answered(reader, writer)
            async with asyncio.timeout(PATIENCE):
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, EOFError):
            pass  # it has gone, or does not read
        finally:
            self._waiting.pop(writer, None)
            self._asking.discard(writer)
            writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(http.END_OF_HEAD)
        except asyncio.LimitOverrunError:
            text = f"the request is larger than {http.MOST_HEAD} bytes"
            return http.written(Answer.of(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text))
        except TimeoutError:
            text = f"the request has not arrived within {PATIENCE:g} seconds"
            return http.written(Answer.of(HTTPStatus.REQUEST_TIMEOUT, text))
        finally:
            self._waiting.pop(writer, None)
        try:
            request = http.read(head)
        except http.BadRequest as bad:
            return http.written(bad.answer)
        answer = await self._answer(request.path, writer)
        return http.written(answer, head=request.method == "HEAD")

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> Answer:
        if path in self._now:
            return self._now[path]()
        if path not in self._slow:
            known = " ".join([*self._now, *self._slow])
            return Answer.of(HTTPStatus.NOT_FOUND, f"there is nothing here; there are {known}")
        if len(self._asking) >= MOST_ASKING:
            text = f"{MOST_ASKING} others ask already, or do not take their answers"
            return Answer.of(HTTPStatus.SERVICE_UNAVAILABLE, text)
        self._asking.add(writer)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(THINKING):
                return await loop.run_in_executor(self._beside, self._slow[path])
        except TimeoutError:
            return Answer.of(HTTPStatus.SERVICE_UNAVAILABLE, "Redis takes too long to answer")
        except Exception:  # noqa: BLE001 - a bug of ours; logged
            self._log.exception("health_answer_failed", path=path)
            return Answer.of(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the log")

    def _on_error(self, _loop: asyncio.AbstractEventLoop, about: dict[str, object]) -> None:
        """What asyncio cannot tell anybody else, e.g. that there are no descriptors left."""
        error = about.get("exception")
        said = text_of(error) if isinstance(error, BaseException) else str(about.get("message"))
        self._log.debug("health_connection_failed", error=said)


def reason(error: OSError) -> str:
    """What the kernel says: asyncio writes the address into it, which is told anyway."""
    code = error.errno or 0
    return os.strerror(code) if code > 0 else error.strerror or str(error)


def refuse_living(path: str) -> None:
    """Refuse the path of a socket on which somebody listens: asyncio would take it from them.

    Raises:
        OSError: somebody listens there, or it is no socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind, or not there
        except TimeoutError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
