"""The hand that breaks the daemons of a chaos run, and the connections between them and the server.

Whatever lasts is undone by itself later.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from signal import Signals

import psutil
import redis as redis_py

from tests.chaos import server as servers
from tests.chaos.plan import Fault, Kind
from tests.chaos.record import Injury, Record
from tests.chaos.server import Server
from tests.support.daemon import Daemon

NOTICED = 15.0
"""Seconds until all of a daemon has noticed that its network is back."""


class Hand:
    """
    Args:
        daemons: the first one has a network between the server and itself.
        after: calls a function after so many seconds.

    Attributes:
        awaited: daemons that are to be started by a fault that is not over.
    """

    def __init__(
        self,
        server: Server,
        redis: redis_py.Redis,
        daemons: list[Daemon],
        record: Record,
        after: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.awaited: list[Daemon] = []
        self._server = server
        self._redis = redis
        self._daemons = daemons
        self._record = record
        self._after = after
        self._frozen: Daemon | None = None  # left alone, so that it is what wakes up again

    def inject(self, fault: Fault) -> None:
        """Do it; undoing it follows by itself."""
        kind = fault.kind
        if kind in servers.KINDS:
            done = self._server.suffer(fault)
        elif kind in (Kind.NETWORK_CUT, Kind.LONG_NETWORK_CUT):
            done = self._break_network(fault)
        elif kind in (Kind.CONNECTION_KILL, Kind.ALL_CONNECTIONS_KILL):
            done = self._break_connections(fault)
        elif kind in (Kind.WORKER_KILL, Kind.WORKER_STOP, Kind.KEEPER_KILL, Kind.KEEPER_STOP):
            done = self._break_child(fault)
        else:
            done = self._break_master(fault)
        if done:
            self._record.faults[kind] += 1

    def _break_child(self, fault: Fault) -> bool:
        keepers = fault.kind in (Kind.KEEPER_KILL, Kind.KEEPER_STOP)
        pids = [pid for daemon in self._moving() for pid in children(daemon, keepers=keepers)]
        if not pids:
            return False
        pid = pids[int(fault.victim * len(pids))]
        if fault.kind in (Kind.WORKER_KILL, Kind.KEEPER_KILL):
            self._kill(pid, fault.kind, "keepers" if keepers else "workers")
        else:
            self._stop([pid], fault)
        return True

    def _break_master(self, fault: Fault) -> bool:
        living = self._moving()
        frozen = fault.kind is Kind.DAEMON_STOP and self._frozen is not None
        if not living or frozen:
            return False
        daemon = living[int(fault.victim * len(living))]
        if fault.kind is Kind.MASTER_STOP:
            self._stop([daemon.pid], fault)
            return True
        family = below(daemon)
        if fault.kind is Kind.DAEMON_STOP:
            self._stop([daemon.pid, *family], fault)
            self._frozen = daemon
            self._after(fault.seconds, self._thaw)
            return True
        for pid in family:
            self.injure(pid, fault.kind)
        if fault.kind is Kind.DAEMON_KILL:
            self._kill_family(daemon, family)
        if fault.kind is Kind.MASTER_HUP:
            return send(daemon.pid, signal.SIGHUP)
        if fault.kind is Kind.MASTER_TERM:
            send(daemon.pid, signal.SIGTERM)
        else:
            self._kill(daemon.pid, fault.kind, "masters")
        self.awaited.append(daemon)
        self._after(fault.seconds, lambda: self.awaited.remove(daemon))
        return True

    def _kill_family(self, daemon: Daemon, family: list[int]) -> None:
        """All but the master."""
        workers, keepers = (children(daemon, keepers=keepers) for keepers in (False, True))
        # Stopped first, so that none sees another die.
        for pid in (daemon.pid, *family):
            send(pid, signal.SIGSTOP)
        for pid in family:
            if send(pid, signal.SIGKILL) and pid in (*workers, *keepers):
                self._record.killed["keepers" if pid in keepers else "workers"] += 1

    def _thaw(self) -> None:
        self._frozen = None

    def _moving(self) -> list[Daemon]:
        return [daemon for daemon in self._daemons if daemon.alive() and daemon != self._frozen]

    def _break_network(self, fault: Fault) -> bool:
        """Cut the first daemon off."""
        if self._server.network.dark or (fault.kind is Kind.LONG_NETWORK_CUT and self._frozen):
            return False
        daemon = self._daemons[0]
        injuries = [self.injure(pid, fault.kind) for pid in daemon.workers()]
        self._server.go_dark()
        if fault.kind is Kind.LONG_NETWORK_CUT:
            self._frozen = daemon

        def light_up() -> None:
            self._server.light_up()
            for injury in injuries:
                injury.ended = time.monotonic() + NOTICED
            if self._frozen is daemon:
                self._thaw()

        self._after(fault.seconds, light_up)
        return True

    def _break_connections(self, fault: Fault) -> bool:
        if self._server.down:
            return False
        try:
            if fault.kind is Kind.ALL_CONNECTIONS_KILL:
                self._redis.client_kill_filter(_type="normal", skipme=True)
                return True
            ids = sorted(int(client["id"]) for client in self._redis.client_list())
            self._redis.client_kill_filter(_id=str(ids[int(fault.victim * len(ids))]), skipme=True)
        except redis_py.RedisError:
            return False
        return True

    def _kill(self, pid: int, kind: Kind, what: str) -> None:
        self.injure(pid, kind)
        if send(pid, signal.SIGKILL):
            self._record.killed[what] += 1

    def _stop(self, pids: list[int], fault: Fault) -> None:
        injuries = [self.injure(pid, fault.kind) for pid in pids if send(pid, signal.SIGSTOP)]

        def go_on() -> None:
            for pid, injury in zip(pids, injuries, strict=False):
                injury.ended = time.monotonic()
                send(pid, signal.SIGCONT)

        self._after(fault.seconds, go_on)

    def injure(self, pid: int, kind: Kind) -> Injury:
        injury = Injury(kind, time.monotonic())
        self._record.injuries.setdefault(pid, []).append(injury)
        return injury


def children(daemon: Daemon, *, keepers: bool) -> list[int]:
    """Process ids of living workers or keepers. The master has other children, too: what jobs have
    started comes to it when their worker dies."""
    if not daemon.alive():
        return []
    return list(filter(None, [daemon.keeper()])) if keepers else daemon.workers()


def below(daemon: Daemon) -> list[int]:
    """Process ids of everything below the master."""
    try:
        return [child.pid for child in psutil.Process(daemon.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(pid: int, number: Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
