"""The master's side of the zygote: requests for workers that are not forked yet.

The master creates the channel to the new worker and sends the worker's end with the request,
together with its shared memory; the first message on the master's end is the worker's process id.
Nothing blocks meanwhile. If the channel closes without a message, or stays silent for too long,
the fork has failed.
"""

from __future__ import annotations

import functools
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from jobd.master.children.child import Child
from jobd.master.children.fork import ZYGOTE, Forked, Forker, adopt
from jobd.runtime.child.seat import Seat
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.channel import ChannelClosed, MasterEnd, pair
from jobd.runtime.ipc.messages import ForkRequest, FromChild, Nonsense, Unknown
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.text.printable import encode

BORN_WITHIN = 10.0
"""Seconds after which a zygote that has not answered is considered hung."""


@dataclass(slots=True, eq=False)
class _Unborn:
    zygote: Child
    nonce: str
    workplace: Workplace
    line: MasterEnd
    give_up_at: float
    born: Callable[[Forked], None]
    lost: Callable[[str], None]


def fork_zygote(
    forker: Forker, generation: int, nonce: str, workplace: Workplace
) -> tuple[Forked, socket.socket]:
    """Fork a zygote; returns it, and the socket for requests.

    Raises:
        OSError: the kernel refuses.
    """
    # Packets, so that a request and its descriptors stay together.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            main = functools.partial(_incubate, ours, theirs)
            forked = forker.fork(ZYGOTE, 0, generation, nonce, workplace, main)
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return forked, ours


def _incubate(masters_end: socket.socket, requests: socket.socket, seat: Seat) -> int:
    masters_end.close()
    # Imported in the child: the master has no application.
    from jobd.zygote.main import main

    return main(seat, requests)


class Nursery:
    """All open requests."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._unborn: list[_Unborn] = []

    def __len__(self) -> int:
        return len(self._unborn)

    def ask(
        self,
        zygote: Child,
        role: str,
        index: int,
        nonce: str,
        workplace: Workplace,
        born: Callable[[Forked], None],
        lost: Callable[[str], None],
    ) -> None:
        """Ask *zygote* for a worker. Either *born* or *lost* (with the reason) is called later.

        Raises:
            OSError: out of descriptors, or the zygote no longer reads.
        """
        if zygote.requests is None:
            raise AssertionError(f"{zygote.role} is not a zygote")
        request = ForkRequest(role, index, zygote.generation, nonce)
        ours, theirs = pair()
        try:
            packet = encode(request)
            descriptors = [theirs.fileno(), *workplace.descriptors]
            socket.send_fds(zygote.requests, [packet], descriptors)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        give_up_at = time.monotonic() + BORN_WITHIN
        unborn = _Unborn(zygote, nonce, workplace, ours, give_up_at, born, lost)
        self._unborn.append(unborn)
        self._selector.register(ours, selectors.EVENT_READ, lambda _events: self._hear(unborn))

    def _hear(self, unborn: _Unborn) -> None:
        try:
            received = unborn.line.receive()
        except (ChannelClosed, Nonsense):
            self._lose(unborn, "it died before its first message")
            return
        if received:  # it sends no more before it is answered
            self._first_word(unborn, received[0])

    def _first_word(self, unborn: _Unborn, message: FromChild | Unknown) -> None:
        if not isinstance(message, messages.Born):
            said = f"it said {message}"
            self._lose(unborn, message.error if isinstance(message, messages.Stillborn) else said)
            return
        try:
            forked = adopt(message.pid, unborn.nonce, unborn.line)
        except OSError as error:
            self._lose(unborn, error.strerror or str(error))
            return
        self._forget(unborn)
        unborn.born(forked)
        try:
            unborn.line.send(messages.Welcome())
        except ChannelClosed:
            pass  # its end will be read from the pidfd in a moment

    def _lose(self, unborn: _Unborn, reason: str) -> None:
        self._forget(unborn)
        # If it is still forked later, it finds the channel closed and exits.
        unborn.line.close()
        unborn.lost(reason)

    def _forget(self, unborn: _Unborn) -> None:
        self._unborn.remove(unborn)
        self._selector.unregister(unborn.line)

    def tick(self, now: float) -> None:
        """Give up requests that take too long, and the zygote with them."""
        for unborn in [one for one in self._unborn if now >= one.give_up_at]:
            unborn.zygote.kill_at = now
            self._lose(unborn, f"the zygote did not answer within {BORN_WITHIN:g} seconds")

    def postpone(self, seconds: float) -> None:
        """The whole machine was paused: extend the deadlines."""
        for unborn in self._unborn:
            unborn.give_up_at += seconds

    def next_deadline(self) -> float:
        return min((one.give_up_at for one in self._unborn), default=float("inf"))

    def leave_behind(self) -> None:
        """In a forked child: close the descriptors of requested workers."""
        for unborn in self._unborn:
            unborn.line.close()
            unborn.workplace.close()
