"""The slots: which children there should be, and how to fork, stop and reap them.

A slot outlives its child. This module knows how to get a child and how to end one; the master
decides when.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from jobd.master.children import killing
from jobd.master.children.child import Child, Order, Reason, Slot, Stage
from jobd.master.children.fork import KEEPER, ZYGOTE, Forked, Forker
from jobd.master.children.zygote_client import Nursery, fork_zygote
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.runtime.log import log
from jobd.runtime.process.identity import new_nonce
from jobd.settings.daemon import Config

# Seconds after a stop deadline in which a worker returns its jobs, and further seconds for finally
# blocks and last messages, before it is dumped and killed.
PUSH_BACK = 5.0
GRACE = 6.0

_FORK_SPACING = 0.05
_HEALTHY_AFTER = 60.0

# There is no limit on the boot of a child while it reports what it waits for.
_NEVER = float("inf")

logger = log.get("jobd.master")


class Slots:
    """All slots and all living children, including those that are exiting."""

    def __init__(
        self,
        config: Config,
        forker: Forker,
        selector: selectors.BaseSelector,
        on_entered: Callable[[Child], None],
        on_channel: Callable[[Child, int], None],
        on_exit: Callable[[Child], None],
    ) -> None:
        self.keeper = Slot(KEEPER, 0)
        self.zygote = Slot(ZYGOTE, 0) if config.preload else None
        self.workers = [_worker_slot(index) for index in range(config.workers)]
        self._config = config
        self._forker = forker
        self._selector = selector
        self._nursery = Nursery(selector)
        self._on_entered = on_entered
        self._on_channel = on_channel
        self._on_exit = on_exit
        self._living: list[Child] = []
        self._next_fork = 0.0
        self._least_wait = 0.0

    def scale(self, count: int, deadline: float) -> None:
        """Change the number of workers to *count*. New slots are empty; surplus ones are removed at
        once, and their workers exit when their jobs have ended, at the latest at *deadline*
        (monotonic s)."""
        first = len(self.workers)
        self.workers += [_worker_slot(index) for index in range(first, count)]
        superfluous = self.workers[count:]
        del self.workers[count:]
        for slot in superfluous:
            if slot.order is not None:
                self.dismiss(slot.order, Reason.SCALE)
            for child in (slot.child, slot.replacement):
                if child is not None:
                    self.stop(child, Reason.SCALE, deadline)

    def configure(self, config: Config) -> None:
        """Set the settings of children forked from now on."""
        self._config = config
        self._forker = replace(self._forker, config=config, since=time.monotonic())

    # Looking -----------------------------------------------------------------------------------

    def all(self) -> list[Slot]:
        return [self.keeper, *([self.zygote] if self.zygote else []), *self.workers]

    def children(self) -> list[Child]:
        """Every living child, keeper and zygotes included."""
        return list(self._living)

    def worker_children(self) -> list[Child]:
        return [child for child in self._living if child.is_worker]

    def zygotes(self) -> list[Child]:
        return [child for child in self._living if child.role == ZYGOTE]

    @property
    def unborn(self) -> int:
        """How many workers have been requested from a zygote and do not exist yet."""
        return len(self._nursery)

    def complete(self) -> bool:
        """Whether every slot has a ready child."""
        return all(slot.child is not None and slot.child.serving for slot in self.all())

    @property
    def degraded(self) -> bool:
        """Whether slots are held back because of too many crashes."""
        return self._least_wait > 0

    # Forking -----------------------------------------------------------------------------------

    def may_fork(self, slot: Slot) -> bool:
        """Pacing: no more concurrent boots than processors, and not all at the same moment."""
        return self._may_boot(slot) and time.monotonic() >= self._next_fork

    def fork_at(self, slot: Slot) -> float:
        """When an empty slot may be filled (monotonic s), provided that not too many children boot
        then and there is a zygote if needed: when these become ready, that wakes the loop."""
        return max(slot.start_at, self._next_fork) if self._may_boot(slot) else _NEVER

    def _may_boot(self, slot: Slot) -> bool:
        booting = sum(child.stage is Stage.BOOTING for child in self._living) + self.unborn
        if self._crowded(slot) or booting >= max(2, os.cpu_count() or 1):
            return False
        return not self._is_preloaded(slot) or self._source() is not None

    def _crowded(self, slot: Slot) -> bool:
        # While too many replaced workers still run jobs, only dead ones are replaced.
        if slot.empty:
            return False
        slots = self.all()
        # An empty slot has its place: that of a child that has just died, say.
        owed = sum(one.empty for one in slots)
        return len(self._living) + self.unborn + owed >= 2 * len(slots)

    def _is_preloaded(self, slot: Slot) -> bool:
        return self.zygote is not None and slot in self.workers

    def _source(self) -> Child | None:
        """The zygote that forks workers now: during a reload the new one."""
        if self.zygote is not None:
            for child in (self.zygote.replacement, self.zygote.child):
                if child is not None and child.serving:
                    return child
        return None

    def fork(self, slot: Slot, generation: int, *, beside: bool = False) -> Order:
        """Get a new child for *slot*; a worker from a zygote has the zygote's generation.

        Args:
            beside: it will be the slot's replacement.

        Returns:
            the order; an error is recorded in it, logged, and sets the back-off.
        """
        order = slot.order = Order(beside)
        self._next_fork = time.monotonic() + _FORK_SPACING
        source = self._source() if self._is_preloaded(slot) else None
        nonce = new_nonce()
        # A worker from a zygote has the zygote's settings.
        places = source.workplace.page.places if source else self._config.places
        workplace = None
        try:
            workplace = Workplace(places, nonce)
            self._fork(slot, source, generation, nonce, workplace)
        except OSError as error:
            self._lose(slot, workplace, error.strerror or str(error))
        return order

    def _fork(
        self, slot: Slot, source: Child | None, generation: int, nonce: str, workplace: Workplace
    ) -> None:
        if source is not None:
            self._nursery.ask(
                source,
                slot.role,
                slot.index,
                nonce,
                workplace,
                lambda forked: self._enter(slot, source.generation, workplace, forked),
                lambda reason: self._lose(slot, workplace, reason),
            )
        elif slot is self.zygote:
            forked, requests = fork_zygote(self._forker, generation, nonce, workplace)
            self._enter(slot, generation, workplace, forked, requests)
        else:
            forked = self._forker.fork(slot.role, slot.index, generation, nonce, workplace)
            self._enter(slot, generation, workplace, forked)

    def _lose(self, slot: Slot, workplace: Workplace | None, reason: str) -> None:
        order, slot.order = slot.order, None
        if workplace is not None:
            workplace.close()
        slot.start_at = time.monotonic() + slot.backoff.crashed()
        logger.error("fork_failed", child=slot.role, error=reason)
        if order is not None:
            order.error = f"{slot.role}: cannot fork: {reason}"

    def _enter(
        self,
        slot: Slot,
        generation: int,
        workplace: Workplace,
        forked: Forked,
        requests: socket.socket | None = None,
    ) -> None:
        now = time.monotonic()
        workplace.taken()
        child = Child(
            slot=slot,
            generation=generation,
            nonce=forked.nonce,
            pid=forked.pid,
            pidfd=forked.pidfd,
            ticks=forked.ticks,
            channel=forked.channel,
            workplace=workplace,
            forked_at=now,
            boot_by=now + self._config.boot_timeout,
            requests=requests,
        )
        self._living.append(child)
        self._selector.register(
            forked.channel, selectors.EVENT_READ, lambda events: self._on_channel(child, events)
        )
        self._selector.register(
            forked.pidfd, selectors.EVENT_READ, lambda _events: self._on_exit(child)
        )
        logger.info("child_forked", child=child.role, child_pid=child.pid, generation=generation)
        order, slot.order = slot.order, None
        if order is not None and order.beside:
            slot.replacement = child
        else:
            slot.child = child
        self._on_entered(child)
        if order is not None:
            order.child = child
            if order.unwanted is not None:
                self.stop(child, order.unwanted, now)

    def leave_behind(self) -> None:
        """In a new child: close all descriptors of the other children."""
        self._nursery.leave_behind()
        for child in self._living:
            child.workplace.close()
            os.close(child.pidfd)
            for end in (child.channel, child.requests):
                if end is not None:
                    end.close()

    # Talking -----------------------------------------------------------------------------------

    def watch_writes(self) -> None:
        """Watch for writability exactly the channels that have something to write."""
        for child in self._living:
            if child.channel is None:
                continue
            key = self._selector.get_key(child.channel)
            events = selectors.EVENT_READ
            if child.channel.wants_write:
                events |= selectors.EVENT_WRITE
            if key.events != events:
                self._selector.modify(child.channel, events, key.data)

    def waits(self, child: Child, note: str) -> None:
        """Record what the child's boot waits for; "" if it continues."""
        child.note = note
        child.boot_by = _NEVER if note else time.monotonic() + self._config.boot_timeout

    def hang_up(self, child: Child) -> None:
        """Close an unusable channel, and end the child, which needs one."""
        if child.channel is not None:
            self._selector.unregister(child.channel)
            child.channel.close()
            child.channel = None
            # In case only our end is closed, or the child does not notice.
            child.send_signal(signal.SIGTERM)
        within = self._config.timeout + PUSH_BACK + GRACE
        child.kill_at = min(child.kill_at, time.monotonic() + within)

    # Ending ------------------------------------------------------------------------------------

    def dismiss(self, order: Order, reason: Reason) -> None:
        """Cancel an order: stop the child now, or as soon as it exists."""
        order.unwanted = reason
        if order.child is not None:
            self.stop(order.child, reason, time.monotonic())

    def stop(self, child: Child, reason: Reason, deadline: float) -> None:
        """Ask a child to end its jobs by *deadline* (monotonic), return the rest, and exit.
        A booting child has no jobs to wait for, and may never read the message.

        Asking again can only move the deadline forward.
        """
        if child.stage is Stage.BOOTING:
            deadline = min(deadline, time.monotonic())
        if child.reason is None:
            child.reason = reason
        child.stage = Stage.STOPPING
        child.kill_at = min(child.kill_at, deadline + PUSH_BACK + GRACE)
        if not child.tell(messages.Stop(deadline)):
            child.send_signal(signal.SIGTERM)

    def tick(self, now: float) -> None:
        """Act on forks, boots and exits that take too long."""
        self._nursery.tick(now)
        for child in self._living:
            if child.stage is Stage.BOOTING and now >= child.boot_by and child.reason is None:
                child.reason = Reason.LATE
                child.kill_at = now
            if now >= child.kill_at:
                killing.end(child, now)

    def reap(self, child: Child) -> int | None:
        """Reap a child: returns its exit code, negative for a signal; None if it still runs.

        Its shared memory stays open for reading."""
        ended = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
        if ended is None:
            return None
        self._living.remove(child)
        if child.channel is not None:
            self._selector.unregister(child.channel)
            child.channel.close()
            child.channel = None
        if child.requests is not None:
            child.requests.close()
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        slot = child.slot
        if slot.child is child:
            slot.child = None
        if slot.replacement is child:
            slot.replacement = None
            child.beside = True
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def next_deadline(self) -> float:
        """When :meth:`tick` must be called next (monotonic seconds)."""
        return min(self._deadlines(), default=_NEVER)

    def _deadlines(self) -> Iterator[float]:
        yield self._nursery.next_deadline()
        for child in self._living:
            yield child.kill_at
            if child.stage is Stage.BOOTING and child.reason is None:
                yield child.boot_by

    def crashed(self, child: Child, cause: str, now: float) -> float:
        """Set the slot's back-off after a crash; returns the seconds."""
        slot = child.slot
        slot.crash = cause
        if child.ready_at and now - child.ready_at >= _HEALTHY_AFTER:
            slot.backoff.healthy()
        delay = slot.backoff.crashed()
        if child.is_worker:
            delay = max(delay, self._least_wait)
        slot.start_at = now + delay
        return delay

    def hold_back(self, seconds: float) -> None:
        """Set the least delay before the slot of a crashed worker is filled. Slots of the keeper
        and the zygote are not delayed: the workers need them."""
        self._least_wait = seconds
        for slot in self.workers:
            if slot.empty:
                slot.start_at = max(slot.start_at, time.monotonic() + seconds)

    def postpone(self, seconds: float) -> None:
        """The whole machine was paused: extend the deadlines of forks, boots and exits."""
        self._nursery.postpone(seconds)
        for child in self._living:
            child.boot_by += seconds
            child.kill_at += seconds


def _worker_slot(index: int) -> Slot:
    return Slot(f"worker.{index}", index)
