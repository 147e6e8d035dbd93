"""The three sorted sets: jobs that wait for their time or for another attempt, and dead ones."""

from __future__ import annotations

from collections.abc import Mapping

from jobd.ambient import clock
from jobd.api.sets.deaths import tell_death
from jobd.api.sets.jobset import JobSet
from jobd.store import scripts
from jobd.wire.options import DEFAULT_QUEUE
from jobd.wire.payload import encode_again
from jobd.wire.transitions import as_object


class ScheduledSet(JobSet):
    """Jobs that wait for their time."""

    name = "schedule"

    def add_all_to_queue(self) -> int:
        """Put all entries into their queues. Cost: O(n log n), in bounded steps."""
        return self.sweep("add_to_queue").run()


class RetrySet(JobSet):
    """Jobs that have failed and will be tried again."""

    name = "retry"

    def kill_all(self, *, notify_failure: bool = False, ex: BaseException | None = None) -> int:
        """Move all entries to the dead set. Cost: O(n log n), in bounded steps.

        Args:
            notify_failure, ex: as for :meth:`kill`.
        """
        if not notify_failure:
            return self.sweep("kill").run()
        scan, killed = self.scan(), 0
        while not scan.done:
            killed += self.kill(*scan.next(), ex=ex)
        return killed


class DeadSet(JobSet):
    """Jobs that will not be tried again, kept for people; :meth:`bury` puts one there."""

    name = "dead"
    _highest_first = True

    def bury(
        self,
        job: Mapping[str, object] | bytes,
        *,
        notify_failure: bool = True,
        trim: bool = True,
        ex: BaseException | None = None,
    ) -> bool:
        """Put a job that is in no other set into this one: Sidekiq's ``DeadSet#kill``; one script.

        Args:
            job: the payload, or its bytes; other JSON than an object becomes the argument of one.
            notify_failure: call the application's death handlers.
            trim: remove what is too old or too much.
            ex: the exception for the death handlers.

        Returns:
            Whether it was not there before.

        Raises:
            ArgumentError: the payload is no JSON.
        """
        raw = job if isinstance(job, bytes) else encode_again(dict(job))
        raw = as_object(raw, queue=DEFAULT_QUEUE, now=clock.now())
        added, _ = self._add([raw], trim=trim)
        if notify_failure:
            tell_death(self._api.app, raw, ex)
        return bool(added)

    def trim(self) -> int:
        """Remove what is too old or too much; a script for each 1,000. Returns how many."""
        total, trimmed = 0, 1
        while trimmed:
            _, trimmed = self._add([], trim=True)
            total += trimmed
        return total

    def _add(self, raws: list[bytes], *, trim: bool) -> tuple[int, int]:
        now, session = clock.now(), self._api
        bounds = (repr(now - session.dead_timeout), session.dead_max_jobs if trim else 0)
        name = "bury" if raws else "trim"
        added, trimmed = self._action(name).call(
            scripts.ADD_DEAD, [self._key], [repr(now), *bounds, *raws]
        )
        return added, trimmed
