"""The worker processes that beat, Ruby's among them, and what can be sent to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from redis.exceptions import OutOfMemoryError

from jobd.api.reading import (
    MOST,
    MOST_HELD,
    answers,
    batches,
    decoded,
    hashes,
    integer,
    mapping,
    members,
    number,
    text,
    texts,
)
from jobd.api.session import Change, Session, session_or_default
from jobd.api.stacks import Stacks, forget_stacks, read_stacks
from jobd.errors import ArgumentError, RefusedError
from jobd.store import control, scripts
from jobd.store.control import Look
from jobd.wire.json_value import JsonValue

Signal = Literal["TSTP", "TERM", "TTIN"]

SIGNAL_TTL = 60
"""Seconds after which a signal that nobody has taken is forgotten."""

EMBEDDED = "is a part of another program and takes no signals; stop that one"
"""What is said of a process that is embedded."""

CLEANUP = 60
"""Seconds between two cleanups, by all keepers, dashboards and Sidekiqs together."""


@dataclass(frozen=True, slots=True)
class Process:
    """One worker process at one moment.

    Attributes:
        identity: ``HOST:PID:NONCE``.
        queues: the names of its queues, in its order.
        weights: the same by weight; 0 where the order is strict.
        concurrency: jobs that it runs at most at a time.
        coroutines: those of them that are async jobs, on its event loop; the others run in threads.
        busy: jobs that it runs now.
        stopping: it takes no more jobs (``quiet`` in Redis).
        embedded: it is a part of another program, and takes no signals.
        leader: it leads, for Sidekiq Enterprise.
        rss: resident memory, KB.
        rtt_us: its last round trip to Redis, µs.
        loop_lag_us: the longest time in which its event loop did not respond, since the heartbeat
            before, µs.
        beat, started_at: seconds since 1970.
        version: of Sidekiq or jobd, without its name; empty before Sidekiq 7.0.2.
        is_jobd: it is a worker of jobd, and no Sidekiq.
    """

    identity: str
    hostname: str
    pid: int
    tag: str
    labels: tuple[str, ...]
    queues: tuple[str, ...]
    weights: dict[str, int]
    version: str
    is_jobd: bool
    concurrency: int
    coroutines: int
    busy: int
    stopping: bool
    embedded: bool
    leader: bool
    rss: int
    rtt_us: int
    loop_lag_us: int
    beat: float
    started_at: float
    _api: Session = field(repr=False, compare=False)

    def quiet(self) -> bool:
        """Let it take no more jobs; one script.

        It obeys at once. A Sidekiq, or a worker that may not listen on the control channel, obeys
        with its next heartbeat, within ten seconds.

        Returns:
            Whether it was still there.

        Raises:
            ArgumentError: it is embedded.
        """
        return self._send("quiet", "TSTP")

    def stop(self) -> bool:
        """Let it stop, with its own time limit; otherwise as :meth:`quiet`.

        The master of a jobd worker starts another one; a daemon is stopped by ``jobctl stop``.
        """
        return self._send("stop", "TERM")

    def dump_threads(self) -> bool:
        """Let it write the stacks of its threads to its log, and if it is jobd's to Redis as well,
        for :meth:`stacks`; otherwise as :meth:`quiet`."""
        return self._send("dump_threads", "TTIN")

    def stacks(self) -> Stacks | None:
        """What its threads were doing when it obeyed the last :meth:`dump_threads`; one command.

        None before that, five minutes after, and for a Sidekiq.

        Example:
            >>> process.dump_threads()  # doctest: +SKIP
            True
            >>> print(process.stacks().text)  # a moment later  # doctest: +SKIP
            worker web1:4711:c0ffee: 1 of 10 threads busy, 1 job in flight
            ...
        """
        return read_stacks(self._api, [self.identity]).get(self.identity)

    def _send(self, name: str, signal: Signal) -> bool:
        if self.embedded:
            raise ArgumentError(f"{self.identity} {EMBEDDED}")
        if signal == "TTIN":
            forget_stacks(self._api, [self.identity])
        return send(self._api, Change(self._api, name, self.identity), signal, [self]) == 1


class ProcessSet:
    """All worker processes.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> for process in ProcessSet(api):  # doctest: +SKIP
        ...     print(process.identity, process.busy, "of", process.concurrency)
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    @property
    def size(self) -> int:
        """How many are listed; one command, O(1). Some of them may have died in the last minute."""
        size = self._api.redis.scard(self._api.keys.processes)
        return int(size)

    def all(self, most: int | None = None) -> list[Process]:
        """All that live, by identity.

        Cost: a script for each 250 processes or megabyte of what they tell, and some for their
        list; O(processes). Of more than about 64 MB, some are not in it.

        Args:
            most: of more processes than so many, any so many of them.
        """
        redis, keys = self._api.redis, self._api.keys
        identities = sorted(text(member) for member in members(redis, keys.processes, most))
        return self._read(identities)

    def __iter__(self) -> Iterator[Process]:
        return iter(self.all())

    def __getitem__(self, identity: str) -> Process:
        """The process of that identity; two commands.

        Raises:
            KeyError: there is none, or it has died.
        """
        found = self._read([identity])
        if not found:
            raise KeyError(identity)
        return found[0]

    @property
    def total_concurrency(self) -> int:
        """Threads that run jobs, in all processes; costs as :meth:`all`."""
        return sum(process.concurrency for process in self.all())

    @property
    def total_rss(self) -> int:
        """KB of memory, in all processes; costs as :meth:`all`."""
        return sum(process.rss for process in self.all())

    @property
    def leader(self) -> str:
        """Identity of the process that leads for Sidekiq Enterprise, or ''; one command."""
        found = cast("bytes | None", self._api.redis.get(self._api.keys.leader))
        return text(found) if found else ""

    def quiet_all(self) -> int:
        """Let all processes take no more jobs, embedded ones excepted; see :meth:`Process.quiet`.

        Cost: that of :meth:`all`, and a script for each 100 processes.

        Returns:
            How many were told.
        """
        return self._send_all("quiet", "TSTP")

    def stop_all(self) -> int:
        """Let all processes stop; otherwise as :meth:`quiet_all`."""
        return self._send_all("stop", "TERM")

    def dump_threads_all(self) -> int:
        """Let all processes tell their stacks (:meth:`stacks`); otherwise as :meth:`quiet_all`."""
        return self._send_all("dump_threads", "TTIN")

    def stacks(self, identities: Sequence[str]) -> dict[str, Stacks]:
        """The stacks of these processes by identity, as far as they have told them; see
        :meth:`Process.stacks`. A script for each megabyte."""
        return read_stacks(self._api, identities)

    def _send_all(self, name: str, signal: Signal) -> int:
        action = Change(self._api, name, "processes")
        able = [process for process in self.all() if not process.embedded]
        if signal == "TTIN":
            forget_stacks(self._api, [process.identity for process in able])
        return sum(send(self._api, action, signal, batch) for batch in batches(able))

    def cleanup(self) -> int:
        """Take processes that have died off the list.

        Cost: one command if somebody has done it in the last minute; else O(processes), in steps of
        1,000.

        Returns:
            How many that were.
        """
        redis, keys = self._api.redis, self._api.keys
        try:
            if not redis.set(keys.process_cleanup, "1", nx=True, ex=CLEANUP):
                return 0
        except RefusedError as error:
            if isinstance(error.__context__, OutOfMemoryError):
                return (
                    0  # readers leave out what has died; it stays on the list until there is room
                )
            raise
        gone = 0
        for batch in batches(members(redis, keys.processes), size=MOST):
            with redis.pipeline(transaction=False) as pipe:
                for identity in batch:
                    pipe.hexists(keys.process(text(identity)), "info")
                alive = answers(pipe)
            dead = [identity for identity, lives in zip(batch, alive, strict=True) if not lives]
            if dead:
                removed = redis.srem(keys.processes, *dead)
                gone += removed
        return gone

    def _read(self, identities: list[str]) -> list[Process]:
        redis, keys = self._api.redis, self._api.keys
        leader = self.leader if identities else ""
        found, room = [], MOST_HELD
        for identity, beat in zip(
            identities, hashes(redis, [keys.process(one) for one in identities]), strict=False
        ):
            # Without its hash a process is dead; without `info` it never began.
            if b"info" in beat:
                found.append(_process(self._api, identity, beat, leader == identity))
                room -= len(beat[b"info"])
            if room <= 0:
                break
        return found


def send(session: Session, action: Change, signal: Signal, processes: list[Process]) -> int:
    """Send a signal to processes that beat; returns how many of them still do."""
    keys = session.keys
    places = [
        key
        for process in processes
        for key in (keys.process(process.identity), keys.signals(process.identity))
    ]
    identities = [process.identity for process in processes]
    channels = control.channels(session.redis, keys, identities)
    arguments = [signal, SIGNAL_TTL, control.message(Look.SIGNALS), *channels]
    told: int = action.call(scripts.SIGNAL, places, arguments)
    return told


def _process(session: Session, identity: str, beat: dict[bytes, bytes], leader: bool) -> Process:
    info = mapping(decoded(beat[b"info"]))
    weights = _weights(info)
    return Process(
        identity=identity,
        hostname=str(info.get("hostname") or identity.split(":")[0]),
        pid=integer(info.get("pid")),
        tag=str(info.get("tag") or ""),
        labels=texts(info.get("labels")),
        queues=tuple(weights),
        weights=weights,
        # Ours has our name before it, for Sidekiq's page, which says nothing else of us.
        version=str(info.get("version") or "").removeprefix("jobd "),
        is_jobd=info.get("implementation") == "jobd",
        # A field since Sidekiq 8.1.2, a part of `info` before.
        concurrency=integer(beat.get(b"concurrency", info.get("concurrency"))),
        coroutines=integer(beat.get(b"coroutines")),
        busy=integer(beat.get(b"busy")),
        stopping=beat.get(b"quiet") == b"true",
        embedded=info.get("embedded") is True,
        leader=leader,
        rss=integer(beat.get(b"rss")),
        rtt_us=integer(beat.get(b"rtt_us")),
        loop_lag_us=integer(beat.get(b"loop_lag_us")),
        beat=number(beat.get(b"beat")),
        started_at=number(info.get("started_at")),
        _api=session,
    )


def _weights(info: dict[str, JsonValue]) -> dict[str, int]:
    """Queues and weights: of the capsules since Sidekiq 8.0.9, in lists before."""
    capsules = [
        mapping(mapping(capsule).get("weights"))
        for capsule in mapping(info.get("capsules")).values()
    ]
    older = info.get("weights")
    listed = [mapping(part) for part in older] if isinstance(older, list) else []
    found = {name: integer(weight) for part in capsules or listed for name, weight in part.items()}
    return found or dict.fromkeys(texts(info.get("queues")), 0)
