"""The keeper of a world: it does what its loops would do, when it is called.

The world calls it whenever its clock has moved, and asks it when something is due next.
"""

from __future__ import annotations

import redis

from jobd.keeper.batches import ROUND as BATCHES
from jobd.keeper.leases import Leases
from jobd.keeper.reconcile import INTERVAL as RECONCILE
from jobd.keeper.reconcile import Reconcile
from jobd.keeper.recovery import INTERVAL as RECOVERY
from jobd.keeper.recovery import Death, Recovery
from jobd.keeper.scheduler import Scheduler
from jobd.keeper.workflows import Workflows
from jobd.settings.daemon import Config
from jobd.store.keys import Keys
from jobd.store.protocol import pack
from jobd.testing.simulated_ticks import Ticks
from jobd.testing.simulated_time import Time
from jobd.testing.simulated_worker import Worker


class Keeper:
    """The loops, and the only *worker* whose lease they renew."""

    def __init__(
        self,
        config: Config,
        client: redis.Redis,
        keys: Keys,
        time: Time,
        ticks: Ticks,
        worker: Worker,
    ) -> None:
        self._keys = keys
        self._time = time
        self._ticks = ticks
        self._worker = worker
        self._ask = worker.line.ask
        self._scheduler = Scheduler(client, keys, config.poll_interval)
        self._leases = Leases(client, keys)
        self._recovery = Recovery(client, keys, self._leases, lambda _identity, _jobs: None)
        self.reconcile = Reconcile(client, keys)
        self._reconcile_at = 0.0
        self._workflows = Workflows(client, keys)
        self._lost: set[str] = set()
        self._lost_at = 0.0

    def bury(self) -> None:
        """Do what follows if the worker has died."""
        died = self._worker.take_death()
        if died is None or died.loss == "nothing":
            return
        self._lost.add(died.identity)
        if died.loss == "worker":
            running = frozenset({died.job.sequence})
            self._recovery.recover(Death(died.identity, running, "killed by the test"))
            self.turn()

    def turn(self) -> None:
        """Do what the loops of the keeper would do now."""
        now = self._time.now()
        if self._recovery.pending or (self._lost and now >= self._lost_at):
            self._leases.vouch_for([self._worker.identity])
            self._recovery.turn()
            self._lost_at = now + RECOVERY
            owners = self._ask(pack("ZRANGE", self._keys.owners, 0, -1))
            self._lost.intersection_update(owner.decode() for owner in owners)
        if now >= self._reconcile_at and (pause := self._to_reconcile()):
            self.reconcile.turn()
            self._reconcile_at = now + pause
        self._ticks.push(now)
        if self._workflow_due() <= now:
            self._workflows.turn()
        while (due := self.first_due()) is not None and due <= now:
            if self._scheduler.turn():
                break

    def _to_reconcile(self) -> float:
        """Seconds between two turns; 0 if there is nothing to do."""
        fields = self._ask(pack("HKEYS", self._keys.departed))
        if len(fields) > 1 or self._ask(pack("ZCARD", self._keys.contested)):
            return RECONCILE
        kept = (self._keys.batches, self._keys.workflows)
        return BATCHES if any(self._ask(pack("ZCARD", key)) for key in kept) else 0.0

    def _workflow_due(self) -> float:
        """When there is something to do in a workflow; infinity if nothing is."""
        due = pack("ZRANGE", self._keys.workflows_due, 0, 0, "WITHSCORES")
        first = self._ask(due)
        return float(first[1]) if first else float("inf")

    def first_due(self) -> float | None:
        """The earliest time in the schedule and the retries."""
        found = []
        for key in (self._keys.schedule, self._keys.retry):
            first = self._ask(pack("ZRANGE", key, 0, 0, "WITHSCORES"))
            found += [float(first[1])] if first else []
        return min(found, default=None)

    def next(self, *, ticks: bool = True) -> int:
        """When something happens next (µs); later than now.

        Args:
            ticks: also that of a periodic job.
        """
        times = [self.first_due()]
        if ticks:
            times.append(self._ticks.first())
        if self._lost:
            times.append(max(self._lost_at, self._time.now()))
        if self._to_reconcile():
            times.append(self._reconcile_at)
        times.append(self._workflow_due())
        moments = [self._time.at(at) for at in times if at is not None and at < 1e12]
        return min((at for at in moments if at > self._time.micros), default=2**62)

    def holds_lost(self) -> bool:
        """Whether dead workers still hold jobs."""
        held = (pack("HLEN", self._keys.inflight(identity)) for identity in self._lost)
        return any(self._ask(call) for call in held)
