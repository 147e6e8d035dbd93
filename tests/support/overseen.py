"""A master without processes and with a clock of its own, for the tests of its policies."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from jobd.master.children.child import Child, Order, Reason, Slot, Stage
from jobd.master.children.replies import Gatherings
from jobd.master.health import crashloop, hangs, memory, overdue_jobs, policies, rescue
from jobd.master.phase import Phase
from jobd.master.rollout import recycle
from jobd.runtime.ipc.messages import FromMaster, type_of
from jobd.runtime.ipc.scoreboard import (
    DEADLINE,
    FETCHER_BEAT,
    MAIN_BEAT,
    PROCESSED,
    START,
    STARTED,
    WORD,
)
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.runtime.process import processes
from jobd.settings.daemon import Config

_MODULES = (crashloop, memory, policies, overdue_jobs, recycle, rescue, hangs)


class Log:
    """Takes the place of the modules' loggers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.events.append((event, fields))

    def count(self, event: str) -> int:
        return [name for name, _ in self.events].count(event)


class Slots:
    """The children, without the forking. *fork* makes a booting replacement, or fails."""

    def __init__(self, scene: Scene, count: int) -> None:
        self.zygote: Slot | None = None
        self.workers = [Slot(f"worker.{index}", index) for index in range(count)]
        self.living: list[Child] = []
        self.stopped: list[tuple[str, Reason]] = []
        self.held_back = 0.0
        self.postponed = 0.0
        self.fork_error = ""
        self._scene = scene
        for slot in self.workers:
            slot.child = self.born(slot, 1)
            slot.child.stage = Stage.READY

    def children(self) -> list[Child]:
        return list(self.living)

    worker_children = children

    def may_fork(self, _slot: Slot) -> bool:
        return True

    def fork(self, slot: Slot, generation: int, *, beside: bool) -> Order:
        if self.fork_error:
            return Order(beside, error=self.fork_error)
        slot.replacement = self.born(slot, generation)
        return Order(beside, slot.replacement)

    def born(self, slot: Slot, generation: int) -> Child:
        child = self._scene.child(slot, generation)
        self.living.append(child)
        return child

    def dismiss(self, order: Order, reason: Reason) -> None:
        if order.child is not None:
            self.stop(order.child, reason, self._scene.now)

    def stop(self, child: Child, reason: Reason, deadline: float) -> None:
        child.reason = child.reason or reason
        child.stage = Stage.STOPPING
        self.stopped.append((child.role, reason))

    @property
    def degraded(self) -> bool:
        return self.held_back > 0

    def hold_back(self, seconds: float) -> None:
        self.held_back = seconds

    def postpone(self, seconds: float) -> None:
        self.postponed += seconds


class Scene:
    """A running daemon; *now* is its clock, on which all children beat with :meth:`pass_time`.

    *silent* are children that do not, *fetched_at* the beats of fetchers that do not.
    *state* and *tracer* are what the kernel says of all processes, *resident* and *shared* their
    memory in megabytes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int, **settings: Any) -> None:
        self.now = 1000.0
        self.log = Log()
        self.signals: list[tuple[str, str]] = []
        self.dumped: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.silent: set[Child] = set()
        self.fetched_at: dict[Child, float] = {}
        self.state = "S"
        self.tracer = 0
        self.resident = 40.0
        self.shared = 30.0
        self.measured = 0
        self.given_up: list[tuple[int, str]] = []
        self._workplaces: list[Workplace] = []
        self._pids = iter(range(100, 10_000))
        self.slots = Slots(self, workers)
        self.gatherings = Gatherings()
        master: Any = SimpleNamespace(
            config=Config(**settings),
            phase=Phase.RUNNING,
            generation=1,
            staff=SimpleNamespace(slots=self.slots, gatherings=self.gatherings),
            changed=lambda: None,
            retitle=lambda: None,
        )
        self.master = master
        for module in _MODULES:
            monkeypatch.setattr(module, "logger", self.log)
        monkeypatch.setattr(processes, "run_state", lambda _pid: self.state)
        monkeypatch.setattr(processes, "tracer", lambda _pid: self.tracer)
        monkeypatch.setattr(processes, "resident_bytes", lambda _pid: int(self.resident * 2**20))
        monkeypatch.setattr(processes, "proportional_bytes", self._measure)
        monkeypatch.setattr(Child, "send_signal", lambda *args: self._signal(*args))
        monkeypatch.setattr(Child, "tell", lambda *args: self._tell(*args))
        monkeypatch.setattr(
            policies.Oversight, "_dump", lambda _self, child: self.dumped.append(child.role)
        )
        self.oversight = policies.Oversight(
            master,
            recycle.Recycle(master),
            lambda _seconds: None,
            lambda *how: self.given_up.append(how),
        )
        self.pass_time(0)

    def _measure(self, _pid: int) -> int:
        self.measured += 1
        return int(self.shared * 2**20)

    def _signal(self, child: Child, signum: signal.Signals) -> None:
        self.signals.append((child.role, signum.name.removeprefix("SIG")))

    def _tell(self, child: Child, message: FromMaster) -> bool:
        self.told.append((child.role, type_of(message)))
        return True

    def child(self, slot: Slot, generation: int) -> Child:
        workplace = Workplace(3, slot.role)
        self._workplaces.append(workplace)
        return Child(
            slot=slot,
            generation=generation,
            nonce="abc",
            pid=next(self._pids),
            pidfd=-1,
            ticks=0,
            channel=None,
            workplace=workplace,
            forked_at=self.now,
            boot_by=float("inf"),
        )

    def worker(self, index: int = 0) -> Child:
        child = self.slots.workers[index].child
        assert child is not None
        return child

    def pass_time(self, seconds: int) -> None:
        """Let so many turns of the loop happen, one a second; all that are well beat before."""
        for _ in range(max(1, seconds)):
            self.now += 1.0
            self.beat()
            self.oversight.turn(self.now)
            self.gatherings.turn(self.now)

    def beat(self) -> None:
        for child in self.slots.living:
            if child not in self.silent:
                words = child.workplace.page.words
                words[MAIN_BEAT] = int(self.now * 1e9)
                words[FETCHER_BEAT] = int(self.fetched_at.get(child, self.now) * 1e9)

    def done(self, child: Child, jobs: int) -> None:
        child.workplace.page.words[PROCESSED] = jobs

    def runs(
        self,
        child: Child,
        sequence: int,
        deadline: float = 0.0,
        thread: int = 0,
        payload: bytes = b"",
    ) -> None:
        """A thread of *child* runs a job; sequence 0 ends it."""
        page = child.workplace.page
        at = page.offset(thread)
        START.pack_into(page.memory, (at + STARTED) * WORD, 0, payload)
        page.words[at], page.words[at + DEADLINE] = sequence, int(deadline * 1e9)

    def ready(self, slot: int = 0) -> None:
        """The replacement of a slot has booted."""
        new = self.slots.workers[slot].replacement
        assert new is not None
        new.stage = Stage.READY

    def gone(self, child: Child, cause: str = "exit code 1") -> None:
        """A child has been reaped."""
        self.slots.living.remove(child)
        slot = child.slot
        if slot.child is child:
            slot.child = None
        if slot.replacement is child:
            slot.replacement = None
        self.oversight.child_gone(child, cause, self.now)

    def close(self) -> None:
        for workplace in self._workplaces:
            workplace.close()
