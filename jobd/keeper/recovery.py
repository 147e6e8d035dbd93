"""Recovery: returns the jobs of dead workers to the head of their queues.

There are two triggers. When the master reports that one of its workers has died, the jobs are back
within a second. And every few seconds each keeper looks for owners whose lease has expired, because
their host may have died: the first keeper to see it returns their jobs, a minute after the last
renewal.

Jobs that had started are marked. A job that was running in three processes that died is moved to
the dead set: it would probably kill the next worker, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import redis

from jobd.ambient import clock
from jobd.errors import JobdError, PayloadError
from jobd.keeper.leases import NAMED, Leases
from jobd.store import scripts
from jobd.store.inflight import CLOCK_STEP, LEASE, split_tag
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.protocol import Argument
from jobd.wire import job_name, transitions
from jobd.worker.fetch.blocking import BLOCK

INTERVAL = CLOCK_STEP
"""Seconds between checks for expired leases. Each check advances the lease clock, so that it stands
still only while no keeper can reach the server."""

BATCH = 200
"""Most jobs that one script call returns."""

BYTES = 4 * 1024 * 1024
"""Approximate limit on the marked payloads of one call, in bytes."""

FORGET_AFTER = BLOCK + 1.0
"""Seconds for which a dead owner stays listed. Until then the server may still answer one of its
blocking claims, if it notices late that the connection is closed; those jobs are returned, too."""

CRASHES = 3
"""Processes that must die while running a job before it counts as a poison pill."""


class PoisonPill(JobdError):
    """The job was running in several processes that died."""


class BadTag(JobdError):
    """A field of an in-flight hash does not name the queue of its job."""


class NoPlace(redis.ResponseError):
    """Some jobs of a dead worker cannot be put anywhere."""


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that is certainly dead.

    Attributes:
        running: sequence numbers of the jobs that had started.
        cause: how it died, as text.
        stacks: the last known stacks of those jobs, by sequence number.
    """

    identity: str
    running: frozenset[int]
    cause: str
    stacks: Mapping[int, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """
        >>> Death("mail-1:4711:0123456789ab", frozenset(), "").host
        'mail-1'
        """
        return self.identity.rsplit(":", 2)[0]


class Recovery(Loop):
    """The loop that returns the jobs of dead workers.

    Args:
        leases: of the workers that are known to be alive.
        on_recovered: called with the identity of a dead worker and the number of jobs returned.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        leases: Leases,
        on_recovered: Callable[[str, int], None],
    ) -> None:
        super().__init__("recovery", client)
        self._client = client
        self._keys = keys
        self._leases = leases
        self._on_recovered = on_recovered
        self._deaths: deque[Death] = deque()
        self._look_at = 0.0

    def recover(self, death: Death) -> None:
        """Return the jobs of this worker now."""
        self._deaths.append(death)
        self.wake()

    @property
    def pending(self) -> int:
        """How many deaths have not been handled."""
        return len(self._deaths)

    def turn(self) -> float:
        # An error for one owner must not hold up the others.
        refused: redis.ResponseError | None = None
        for _ in range(len(self._deaths)):
            # It stays in the list until it is handled, so that an outage only delays it.
            death = self._deaths[0]
            try:
                moved = self._return_jobs(death, "dead")
            except redis.ResponseError as error:
                refused = refused or error
                self._deaths.rotate(-1)
                continue
            # Told first: a keeper that stops exits when none is left.
            self._on_recovered(death.identity, moved)
            self._deaths.popleft()
            # Its jobs are safe even if this fails; the TTL then has the same effect later.
            try:
                self._unlist(death.identity)
            except redis.ResponseError as error:
                refused = refused or error
        now = clock.monotonic()
        if now >= self._look_at:
            refused = self._look() or refused
            # Only now: the turn after a failed one must talk to Redis, to see that it is back.
            self._look_at = now + INTERVAL
        if refused is not None:
            raise refused
        return self._look_at - clock.monotonic()

    def _unlist(self, identity: str) -> None:
        """Remove a dead worker from the dashboards, which would show it as idle until its TTL
        expires: in a crash loop, many of them."""
        keys = self._keys
        pipeline = self._client.pipeline(transaction=False)  # a full server refuses MULTI
        pipeline.srem(keys.processes, identity)
        shown = keys.process, keys.work, keys.workers, keys.progress
        pipeline.unlink(*(key(identity) for key in shown))
        pipeline.execute()

    def _look(self) -> redis.ResponseError | None:
        """Recover owners whose lease has expired, and finish with those condemned before."""
        refused = None
        # One step renews and looks: the workers of this master are alive whatever the clock says.
        named = self._leases.renew()
        # Where a whole fleet has died, each look names others until all are condemned.
        seen: set[str] = set()
        while fresh := [identity for identity in named if identity not in seen]:
            seen.update(fresh)
            refused = self._recover_all(fresh) or refused
            named = self._leases.renew() if len(named) == NAMED else []
        return refused

    def _recover_all(self, identities: list[str]) -> redis.ResponseError | None:
        refused = None
        for identity in identities:
            # Which jobs had started on a lost host is unknown. No job is blamed: hosts rarely die
            # because of a job.
            cause = "no sign of life from its host"
            try:
                self._return_jobs(Death(identity, frozenset(), cause), "expired")
            except redis.ResponseError as error:
                refused = refused or error
        return refused

    def _return_jobs(self, death: Death, certainty: str) -> int:
        """Returns how many jobs were moved.

        Raises:
            NoPlace: some could not be; they are still in flight for the dead worker.
        """
        total, state = 0, b"held"
        named: dict[str, str] = {}
        while state == b"held":
            held = cast("list[bytes]", self._client.hkeys(self._keys.inflight(death.identity)))
            tags = sorted(held, key=lambda tag: split_tag(tag) or (-1, ""), reverse=True)
            waiting = cast("set[bytes]", self._client.smembers(self._keys.waits(death.identity)))
            waits = set(map(_text, waiting))
            named = named or self._named(death, tags)
            before = total
            done = 0
            while True:
                batch = tags[done : done + BATCH]
                state, moved, handled = self._return_batch(death, certainty, batch, waits)
                total, done = total + moved, done + handled
                if state != b"held" or done >= len(tags):
                    break
            if state == b"held" and total == before:
                raise NoPlace(
                    f"{len(tags)} jobs of {death.identity} stay in flight: their queues and "
                    f"{self._keys.schedule}, or {self._keys.dead}, are keys of another type"
                )
        if total:
            self.log.warning(
                "jobs_recovered", jobs=total, owner=death.identity, cause=death.cause, **named
            )
        return total

    def _named(self, death: Death, tags: list[bytes]) -> dict[str, str]:
        """A log field that names the jobs: those that had started, if known, else those claimed
        first."""
        started = [tag for tag in tags if (place := split_tag(tag)) and place[0] in death.running]
        wanted = (started or tags)[::-1]
        if not wanted:
            return {}
        key = self._keys.inflight(death.identity)
        found = cast("list[bytes | None]", self._client.hmget(key, *wanted[: job_name.MOST]))
        names = job_name.listed([job_name.job_name(raw or b"") for raw in found], len(wanted))
        return {"running" if started else "oldest": names}

    def _return_batch(
        self, death: Death, certainty: str, tags: list[bytes], waits: set[str]
    ) -> tuple[bytes, int, int]:
        """Returns the state, how many jobs were moved, and how many tags were handled: fewer than
        all if the jobs are large."""
        keys, identity = self._keys, death.identity
        jobs: list[Argument] = []
        places = {tag: split_tag(tag) for tag in tags}
        queues = sorted(waits | {place[1] for place in places.values() if place})
        room = BYTES
        for tag, place in places.items():
            if room <= 0:
                break
            if place is None:
                position, changed = 0, self._tagged_badly(identity, tag)
            else:
                sequence, queue = place
                position, changed = queues.index(queue) + 1, b""
                if sequence in death.running:
                    position, changed = self._mark(death, sequence, queue, position)
            jobs += (tag, position, changed)
            room -= len(changed)
        lists = [
            key for queue in queues for key in (keys.queue(queue), keys.claim(identity, queue))
        ]
        state, moved, handled = scripts.RECOVER(
            self._client,
            [
                keys.owners,
                keys.clock,
                keys.inflight(identity),
                keys.waits(identity),
                keys.queues,
                keys.dead,
                keys.schedule,
                *lists,
            ],
            [
                identity,
                certainty,
                FORGET_AFTER,
                LEASE,
                repr(clock.now()),
                len(queues),
                *queues,
                *jobs,
            ],
        )
        return state, moved, handled

    def _tagged_badly(self, identity: str, tag: bytes) -> bytes:
        """The payload for the dead set of a job whose queue is unknown."""
        raw = cast("bytes | None", self._client.hget(self._keys.inflight(identity), tag))
        error = BadTag(
            f"the in-flight hash of {identity} had this job under {_text(tag)!r}, which is not "
            "NUMBER:QUEUE; retry it to push it to the queue named in its payload"
        )
        self.log.error(
            "job_set_aside", owner=identity, error=str(error), **job_name.log_fields(raw or b"")
        )
        return transitions.noted(raw or b"", error=error, queue="default", now=clock.now())

    def _mark(self, death: Death, sequence: int, queue: str, position: int) -> tuple[int, bytes]:
        """The destination and new payload of a job that was running when its process died."""
        raw = cast(
            "bytes | None",
            self._client.hget(self._keys.inflight(death.identity), f"{sequence}:{queue}"),
        )
        if raw is None:
            return position, b""
        try:
            crashes, marked = transitions.with_crash(raw, cause=death.cause, owner=death.identity)
            if crashes < CRASHES:
                return position, marked
            stack = death.stacks.get(sequence)
            return 0, self._buried(death, queue, crashes, marked, stack)
        except PayloadError:
            return position, b""  # not a job: the next worker moves it to the dead set

    def _buried(
        self, death: Death, queue: str, crashes: int, marked: bytes, stack: str | None
    ) -> bytes:
        error = PoisonPill(
            f"{crashes} worker processes died while they ran this job, the last one on host "
            f"{death.host} ({death.identity}): {death.cause}"
        )
        lines = None if stack is None else stack.splitlines()
        buried = transitions.with_failure(
            marked, error=error, queue=queue, now=clock.now(), backtrace=lines
        )
        if lines is None:
            # The backtrace of an earlier failure has nothing to do with these deaths.
            buried.pop("error_backtrace", None)
        self.log.error(
            "job_buried_as_poison_pill",
            **job_name.log_fields(marked),
            queue=queue,
            crashes=crashes,
            cause=death.cause,
        )
        return transitions.rewritten(marked, buried)


def _text(name: bytes) -> str:
    """A name from Redis. A name that is not UTF-8 was not written by jobd and matches nothing."""
    return name.decode(errors="replace")
