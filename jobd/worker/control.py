"""The listener of the control channel: remote signals reach this worker at once.

It subscribes on a connection of its own and passes on what a message says to look at. It does not
read that itself: on a subscribed connection no other command may be sent. Losing messages loses
nothing. After each subscription it looks at everything, and so does every heartbeat, so without the
channel (the user may not subscribe, the connection is lost) commands take up to ten seconds.

A connection may be dead without a sign: so it sends PING and waits for the answer.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf

import redis

from jobd.runtime.child.mainloop import signals_blocked
from jobd.runtime.process.wakeup import Bell
from jobd.store import control
from jobd.store.control import STORED, Look
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack
from jobd.store.trouble import reason

PING = 10.0
"""Seconds from one sign of life to the next PING."""

PONG = 5.0
"""Seconds that the answer may take."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between attempts to connect, at first and at most. The very first follows at once: a
server or a proxy may just have closed the connection."""

REFUSED_PAUSE = 60.0
"""Seconds until the next attempt after the server has refused the subscription."""

_PING = pack("PING")


class Control(Loop):
    """The listener of one worker.

    Args:
        client: whose server is used; the connection does not come from its pool.
        identity: of the worker.
        on_look: called with what a message says to look at; with everything after a subscription.
        on_trouble: called when :attr:`trouble` has changed.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        identity: str,
        on_look: Callable[[Look], None],
        on_trouble: Callable[[], None],
    ) -> None:
        super().__init__("control")
        self._arguments = (client, keys, identity, on_look, on_trouble)
        self._channels = control.channels(client, keys, [identity, ""])
        self._rule = control.rule(keys.prefix)
        self._on_look = on_look
        self._on_trouble = on_trouble
        self._wire = Wire(client)
        self._bell = Bell()
        self._open = False
        self._ping_at = self._pong_by = inf
        self._pause = FIRST_PAUSE
        self._tried_at_once = -inf
        self._warned = False
        self.trouble = ""
        """Why it is not subscribed; "" if it is, or has not failed to be."""

    def alive(self) -> Control:
        """This listener, or if its thread has ended, another one that has been started."""
        if self.is_alive():
            return self
        other = Control(*self._arguments)
        try:
            with signals_blocked():
                other.start()
        except RuntimeError:
            return self  # no thread can be started now; the next call tries again
        self.log.error("control_thread_replaced")
        return other

    def wake(self) -> None:
        super().wake()
        with suppress(OSError):  # it has been stopped
            self._bell.ring()

    def stop(self, timeout: float) -> bool:
        stopped = super().stop(timeout)
        if stopped:
            self._bell.close()
        return stopped

    def turn(self) -> float | None:
        try:
            if not self._open:
                self._subscribe()
            self._listen()
        except redis.RedisError as error:
            return self._failed(error)
        return 0.0

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._wire.close()

    def _subscribe(self) -> None:
        self._wire.connect()
        self._wire.send(pack("SUBSCRIBE", *self._channels))
        for _ in self._channels:
            self._wire.read()
        self._open = True
        self._heard()
        self._pause = FIRST_PAUSE
        if self._warned:
            self._warned = False
            self.log.info("control_channel_joined")
        self._tell("")
        for look in STORED:
            self._on_look(look)

    def _heard(self) -> None:
        self._ping_at, self._pong_by = time.monotonic() + PING, inf

    def _listen(self) -> None:
        """Wait for messages, or until a PING or its answer is due, and handle what has come."""
        if not self._wire.readable(0.0):
            poller = select.poll()
            for source in (self._bell, self._wire):
                poller.register(source, select.POLLIN)
            left = min(self._ping_at, self._pong_by) - time.monotonic()
            poller.poll(max(0.0, left) * 1000)
            self._bell.silence()
        looks: set[Look] = set()  # of several messages for the same, one is enough
        while self._wire.readable(0.0):
            self._take(looks)
        for look in looks:
            self._on_look(look)
        # Only now: this process may have been frozen, with the answer in the socket.
        now = time.monotonic()
        if now >= self._pong_by:
            raise redis.TimeoutError("no answer to PING")
        if now >= self._ping_at:
            self._ping_at, self._pong_by = inf, now + PONG
            self._wire.send(_PING)

    def _take(self, looks: set[Look]) -> None:
        try:
            said = self._wire.read()
        except redis.ResponseError:
            said = None  # an error is an answer, too: the user has no permission for PING
        self._heard()
        if isinstance(said, list) and len(said) == 3 and said[0] == b"message":
            if (look := control.read(said[2])) is not None:
                looks.add(look)
            else:
                self.log.debug("control_message_unknown", channel=said[1], message=said[2][:200])

    def _failed(self, error: redis.RedisError) -> float:
        """Close after an error; returns the seconds to pause."""
        lost, self._open = self._open, False
        self._wire.close()
        now = time.monotonic()
        if lost and now - self._tried_at_once >= LONGEST_PAUSE:
            self._tried_at_once = now
            return 0.0
        self._tell(reason(error))
        if isinstance(error, redis.ResponseError):
            if not self._warned:
                self._warned = True
                # That Redis is down is logged by those who cannot work without it.
                self.log.warning(
                    "control_channel_refused",
                    error=self.trouble,
                    allow=f"+subscribe {self._rule}",
                    consequence="remote signals take effect with the next heartbeat",
                )
            return REFUSED_PAUSE * random.uniform(0.75, 1.0)
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._on_trouble()
