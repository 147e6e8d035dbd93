"""The heartbeat: publishes this worker to jobd's and Sidekiq's dashboards, and receives remote
signals.

Every ten seconds it writes the process hash, the changes to the running jobs and the metrics, and
takes at most one remote signal; those of which the control channel tells it takes at once. Every
other beat it renews the lease; the keeper renews it too, in case the worker is too busy. The keys
are Sidekiq's, in the formats of old and new versions at once.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from itertools import chain

import psutil
import redis

from jobd.ambient import clock
from jobd.runtime.process.identity import hostname
from jobd.settings.daemon import Config
from jobd.store import scripts
from jobd.store.control import FORCE
from jobd.store.inflight import LEASE, split_tag
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.protocol import Argument
from jobd.text.printable import encode, valid
from jobd.version import VERSION
from jobd.worker.metrics import Metrics
from jobd.worker.run.pool import Working

BEAT = 10.0
"""Seconds between beats."""

RENEW = 1.5 * BEAT
"""Seconds between renewals of the lease, that is, every other beat; the keeper renews it too."""

WORK_BYTES = 1_048_576
"""Bytes of running jobs after which a call of the script that lists them is sent."""

TTL = 60
"""Seconds without a beat after which dashboards no longer show a worker."""

STACKS_TTL = 300
"""Seconds for which dashboards can read the stacks that they requested."""

MOST_SIGNALS = 100
"""Most remote signals that are taken at once."""

LOOK_AGAIN = 0.02
"""Seconds after which a job to cancel that was not found is looked for again; each time twice as
many."""

MOST_STACKS = 500_000
"""Most characters of stacks for dashboards; the log has all of them."""

SLOW = 0.05
"""Seconds; five slower round trips in a row are logged as a warning."""


class Heartbeat(Loop):
    """The heartbeat of one worker.

    Args:
        working: returns the running jobs.
        lag: returns the longest lag of the event loop since the last beat (s).
        coroutines: returns how many async jobs it runs at a time; 0 if it has none.
        on_signal: called with the name of a remote signal (TSTP, TERM, TTIN).
        on_cancel: called with the numbers of jobs in flight that are to be cancelled, and whether
            by force, with each beat as long as they are; returns whether all were found.
        on_lease_lost: called when the owner is no longer listed.
        on_seen: called after the first beat, when :attr:`seen` has become true.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        identity: str,
        config: Config,
        working: Callable[[], list[Working]],
        metrics: Metrics,
        lag: Callable[[], float],
        coroutines: Callable[[], int],
        on_signal: Callable[[str], None],
        on_cancel: Callable[[dict[int, bool]], bool],
        on_lease_lost: Callable[[], None],
        on_seen: Callable[[], None],
    ) -> None:
        super().__init__("heartbeat", client)
        self._client = client
        self._keys = keys
        self._identity = identity
        self._config = config
        self._working = working
        self._metrics = metrics
        self._lag = lag
        self._coroutines = coroutines
        self._on_signal = on_signal
        self._on_cancel = on_cancel
        self._on_lease_lost = on_lease_lost
        self._on_seen = on_seen
        self._process = psutil.Process()
        self._info = encode(self._describe())
        self._slow_beats = 0
        self._renew_at = 0.0
        self._round_trip = 0.0
        self._listed: dict[str, tuple[int, int]] | None = None
        self._stacks: deque[tuple[float, str]] = deque()
        self._due = 0.0
        self._beat_wanted = False
        self._look_wanted = False
        self._pause = LOOK_AGAIN
        self.quiet = False
        self.seen = False
        """Whether dashboards know this worker."""

    def turn(self) -> float:
        if self._stacks or self._look_wanted:
            again = self._look()
            self._write_stacks()
            if not self._beat_wanted and (left := self._due - time.monotonic()) > 0:
                return min(left, again)
        self._beat_wanted = False
        self._due = time.monotonic() + BEAT
        self._write_work()
        if time.monotonic() >= self._renew_at:
            self._renew()
        again = self._obey(*self._beat())
        if not self.seen:
            self.seen = True
            self._on_seen()
        # Last: if Redis refuses this, the worker is still visible and keeps its lease.
        self._send_metrics()
        return min(BEAT, again)

    def show_stacks(self, text: str) -> None:
        """Publish the stacks of this process for the dashboard that requested them.

        Called by another thread; wakes the loop, which writes them.
        """
        self._stacks.append((clock.now(), text))
        super().wake()

    def wake(self) -> None:
        """Beat now."""
        self._beat_wanted = True
        super().wake()

    def look(self) -> None:
        """Take all remote signals now. Called by another thread; calls while it does not get to it
        count as one."""
        self._look_wanted = True
        super().wake()

    def _renew(self) -> None:
        began = time.monotonic()
        places = [self._keys.owners, self._keys.clock]
        lost, _ = scripts.RENEW(self._client, places, [LEASE, 0, self._identity])
        self._round_trip = time.monotonic() - began
        self._renew_at = began + RENEW
        self._warn_if_slow(self._round_trip)
        # Before the first beat the fetcher may not have registered yet.
        if lost and self.seen:
            self._on_lease_lost()

    def leave(self) -> None:
        """Remove this worker from the dashboards. Call it after the loop has been stopped.

        Raises:
            redis.RedisError: they show it until the TTL expires.
        """
        pipeline = self._client.pipeline(transaction=False)  # a full server refuses MULTI
        pipeline.srem(self._keys.processes, self._identity)
        pipeline.unlink(self._keys.work(self._identity), self._keys.workers(self._identity))
        pipeline.execute()
        self._send_metrics()

    def _send_metrics(self) -> None:
        try:
            self._metrics.send(self._client, self._keys)
            if self._metrics.starts is not None:
                self._metrics.starts.send(self._client, self._keys)
        except redis.exceptions.OutOfMemoryError:
            pass  # kept until there is room; the keeper logs that Redis is full

    def _beat(self) -> tuple[list[bytes], list[bytes]]:
        """Write the process hash; returns a remote signal, if there is one, and the tag of each job
        that is to be cancelled, with what the request says."""
        keys, identity = self._keys, self._identity
        key, signals = keys.process(identity), keys.signals(identity)
        coroutines = self._coroutines()
        fields: dict[str, Argument] = {
            "info": self._info,
            "concurrency": self._config.concurrency + coroutines,
            "coroutines": coroutines,
            "busy": len(self._working()),
            "beat": repr(clock.now()),
            "rtt_us": int(self._round_trip * 1e6),
            "loop_lag_us": int(self._lag() * 1e6),
            "quiet": "true" if self.quiet else "false",
            "rss": self._process.memory_info().rss // 1024,
        }
        call: list[Argument] = [self._identity, TTL, *chain.from_iterable(fields.items())]
        taken, cancelled = scripts.BEAT(
            self._client, [keys.processes, key, signals, keys.inflight(identity)], call
        )
        return taken, cancelled

    def _look(self) -> float:
        """Take all remote signals, and read which jobs are to be cancelled; returns the seconds
        after which to look again."""
        if not self._look_wanted:
            return BEAT
        # Before it is read: another request meanwhile is about what this may have missed.
        self._look_wanted = False
        keys = [self._keys.signals(self._identity), self._keys.inflight(self._identity)]
        try:
            signals, cancelled = scripts.LOOK(self._client, keys, [MOST_SIGNALS])
        except redis.RedisError:
            self._look_wanted = True
            raise
        return self._obey(signals, cancelled)

    def _obey(self, signals: list[bytes], cancelled: list[bytes]) -> float:
        """Pass on what was read; returns the seconds after which to look again."""
        for signal in signals:
            self._on_signal(signal.decode(errors="replace"))
        requests = zip(map(split_tag, cancelled[::2]), cancelled[1::2], strict=True)
        if self._on_cancel({tag[0]: said == FORCE for tag, said in requests if tag is not None}):
            self._pause = LOOK_AGAIN
            return BEAT
        # A job is on its way: claimed, and not here yet; or ended, and not acknowledged yet.
        self._look_wanted = True
        self._pause = min(2 * self._pause, BEAT)
        return self._pause

    def _write_work(self) -> None:
        """List the running jobs. Each is sent once, however long it runs, unless the list is
        lost."""
        working = self._working()
        listed, self._listed = self._listed, None  # if this fails, all are sent the next time
        if listed is None or self._list_work(working, listed) != len(working):
            self._list_work(working, None)
        self._listed = {work.thread: (work.job.sequence, work.started) for work in working}

    def _list_work(self, working: list[Working], listed: dict[str, tuple[int, int]] | None) -> int:
        """Update the list in Redis from *listed* to *working*; None replaces all of it.
        Returns its length."""
        if not working and listed == {}:
            return 0
        keys = [self._keys.work(self._identity), self._keys.workers(self._identity)]
        known, threads = listed or {}, {work.thread for work in working}
        ended = known.keys() - threads
        call: list[Argument] = [TTL, int(listed is None), len(ended), *ended]
        room = WORK_BYTES
        for work in working:
            if known.get(work.thread) == (work.job.sequence, work.started):
                continue
            if room <= 0:
                scripts.LIST_WORK(self._client, keys, call)
                call, room = [TTL, 0, 0], WORK_BYTES
            entry = self._entry(work)
            call += (work.thread, entry)
            room -= len(entry)
        return int(scripts.LIST_WORK(self._client, keys, call))

    @staticmethod
    def _entry(work: Working) -> bytes:
        return encode(
            {
                "queue": work.job.queue,
                "payload": work.job.payload.decode("utf-8", "replace"),
                "run_at": int(clock.now() - time.monotonic() + work.started / 1e9),
            }
        )

    def _write_stacks(self) -> None:
        while self._stacks:
            at, text = self._stacks[0]
            if len(text) > MOST_STACKS:
                text = f"{text[:MOST_STACKS]}\n… the rest is in the log\n"
            key = self._keys.stacks(self._identity)
            # A frame may name a file whose name is not valid text.
            fields: list[Argument] = [STACKS_TTL, "at", repr(at), "text", valid(text)]
            scripts.SHOW_STACKS(self._client, [key], fields)
            self._stacks.popleft()

    def _describe(self) -> dict[str, object]:
        """The ``info`` field, constant for the life of the process."""
        config = self._config
        mode = config.queue_mode
        weights = {
            queue.name: 0 if mode == "strict" else max(queue.weight, 1) for queue in config.queues
        }
        return {
            "hostname": hostname(),
            "started_at": clock.now(),
            "pid": os.getpid(),
            "tag": config.tag,
            "concurrency": config.concurrency,
            "queues": list(weights),
            "weights": [weights],
            "labels": list(config.labels),
            "identity": self._identity,
            "version": f"jobd {VERSION}",
            "implementation": "jobd",
            "embedded": False,
            "capsules": {
                "default": {"concurrency": config.concurrency, "mode": mode, "weights": weights}
            },
        }

    def _warn_if_slow(self, round_trip: float) -> None:
        self._slow_beats = self._slow_beats + 1 if round_trip > SLOW else 0
        if self._slow_beats == 5:
            self.log.warning("redis_slow", round_trip=round(round_trip, 3))
