"""``Jobs``: what was pushed in a test, as tests look at it and run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from jobd.errors import ArgumentError
from jobd.jobs.times import When
from jobd.jobs.transports import Source, Transport
from jobd.testing.modes.expected import AnyJob, Expected, WithArgs, listed, missing, named, one_of
from jobd.testing.modes.pushed import PushedJob
from jobd.testing.modes.running import Performer
from jobd.testing.modes.store import Store
from jobd.testing.modes.ticking import tick_of

MOST = 10_000
"""Jobs that one drain runs; more are taken for jobs that push each other for ever."""


class Jobs:
    """The jobs that were pushed since the mode began, or since :meth:`clear`.

    Its length and its items are the jobs that wait to be run; :meth:`pushed` and the assertions see
    those that have run, too. A unique job that another one kept out was not pushed.

    Example:
        >>> from jobd.testing import fake
        >>> with fake() as jobs:  # doctest: +SKIP
        ...     sign_up(7)
        ...     jobs.assert_pushed(welcome, 7, queue="mail")
        ...     jobs.drain()
    """

    def __init__(
        self, store: Store, performer: Performer, transport: Callable[[Source], Transport]
    ) -> None:
        self._store = store
        self._performer = performer
        self._transport = transport

    def __len__(self) -> int:
        return len(self._store.waiting)

    def __iter__(self) -> Iterator[PushedJob]:
        return iter(list(self._store.waiting))

    def __repr__(self) -> str:
        return f"<jobs waiting: {', '.join(map(str, self)) or 'none'}>"

    def pushed(self, job: AnyJob | None = None) -> list[PushedJob]:
        """The jobs that were pushed, in their order.

        Args:
            job: only those of this one: a function with ``@job``, a subclass of ``Job``, or a name.
        """
        wanted = one_of(() if job is None else (job,))
        return [each for each in list(self._store.pushed) if wanted(each)]

    def assert_pushed(
        self,
        job: AnyJob,
        /,
        *args: object,
        in_: When | None = None,
        at: When | None = None,
        queue: str | None = None,
        times: int | None = None,
        with_args: WithArgs | None = None,
        **kwargs: object,
    ) -> PushedJob:
        """Fail unless *job* was pushed like this; returns the first such push.

        Arguments are compared as the function receives them, by name or not, with its defaults.
        Without any, every push of the job will do.

        Args:
            in_: when it is due, as for ``perform_in``, give or take a second; 0 for at once.
            at: the same as for ``perform_at``.
            queue: the queue it was pushed to.
            times: how many such pushes there were; default: at least one.
            with_args: the arguments, for a job whose own have the names of these; ``((), {})`` for
                a push without arguments.

        Raises:
            AssertionError: it was not; says what was pushed instead, and how the nearest differs.
            ArgumentError: no push could be like that: the arguments do not fit the signature.
        """
        __tracebackhide__ = True
        if times is not None and (type(times) is not int or times < 1):
            raise ArgumentError(
                f"times must be a number of at least 1, not {times!r}; use assert_not_pushed"
            )
        expected = Expected.of(job, args, kwargs, with_args, in_, at, queue, times)
        pushed = self.pushed()
        found = _like(expected, pushed)
        if not found:
            raise AssertionError(missing(expected, pushed))
        if times is not None and times != len(found):
            many = f"{len(found):,} pushes were like {expected}, expected {times:,}"
            raise AssertionError("\n".join([many, *listed(pushed)]))
        return found[0]

    def assert_not_pushed(
        self,
        job: AnyJob,
        /,
        *args: object,
        in_: When | None = None,
        at: When | None = None,
        queue: str | None = None,
        with_args: WithArgs | None = None,
        **kwargs: object,
    ) -> None:
        """Fail if *job* was pushed like this; see :meth:`assert_pushed`.

        Raises:
            AssertionError: it was.
            ArgumentError: no push could be like that.
        """
        __tracebackhide__ = True
        expected = Expected.of(job, args, kwargs, with_args, in_, at, queue)
        pushed = self.pushed()
        if found := _like(expected, pushed):
            many = f"{len(found):,} pushes were like {expected}, expected none"
            raise AssertionError("\n".join([many, *listed(found)]))

    def tick(
        self, job: AnyJob, schedule: str | None = None, *, at: datetime | None = None
    ) -> PushedJob | None:
        """Push the job of a tick of a periodic job, as a keeper does when it comes: without client
        middleware, with ``current_job().tick``. No time passes.

        Args:
            schedule: which of its schedules, by name, if it has several.
            at: the tick; default: the next one.

        Returns:
            The push; None if the job of an earlier tick has not ended, and they must not overlap.

        Raises:
            ArgumentError: the job has no such schedule, or is not due at that time.

        Example:
            >>> jobs.tick(report, at=datetime(2027, 1, 1, 6, tzinfo=UTC))  # doctest: +SKIP
        """
        client, push, now = tick_of(job, schedule, at)
        before = len(self._store.pushed)
        if self._transport(client).push([push], now) != [None]:
            return None
        found = (one for one in self._store.pushed[before:] if one.jid == push.jid)
        return next(found, None)

    def drain(self, *only: AnyJob, scheduled: bool = False) -> int:
        """Run the jobs that wait, in the order in which they were pushed, and those that they push.

        They run as by ``perform_inline``: inside the server middleware, without retries. What a job
        raises is raised here, and that job no longer waits.

        Args:
            only: run only these.
            scheduled: run those that are due later, too, in the order in which they are due.

        Returns:
            How many have run.
        """
        wanted, count = one_of(only), 0
        while (job := self._store.take(wanted, scheduled)) is not None:
            self._performer.perform(job)
            count = _counted(count, job)
        return count

    async def adrain(self, *only: AnyJob, scheduled: bool = False) -> int:
        """:meth:`drain` in a coroutine: ``async`` jobs run on its event loop, others in a
        thread."""
        wanted, count = one_of(only), 0
        while (job := self._store.take(wanted, scheduled)) is not None:
            await self._performer.aperform(job)
            count = _counted(count, job)
        return count

    def perform_one(self, *only: AnyJob, scheduled: bool = False) -> Any:
        """Run the next job; see :meth:`drain`. Returns its result.

        Raises:
            AssertionError: none waits.
        """
        __tracebackhide__ = True
        return self._performer.perform(self._next(only, scheduled))[0]

    async def aperform_one(self, *only: AnyJob, scheduled: bool = False) -> Any:
        """:meth:`perform_one` in a coroutine; see :meth:`adrain`."""
        __tracebackhide__ = True
        return (await self._performer.aperform(self._next(only, scheduled)))[0]

    def clear(self) -> None:
        """Forget all jobs, and the locks of those that are unique."""
        self._store.clear()

    def _next(self, only: tuple[AnyJob, ...], scheduled: bool) -> PushedJob:
        __tracebackhide__ = True
        job = self._store.take(one_of(only), scheduled)
        if job is None:
            which = f" of {', '.join(named(each)[0] for each in only)}" if only else ""
            later = [] if scheduled else [each for each in self if one_of(only)(each)]
            advice = f"; {len(later):,} are due later: scheduled=True runs them" if later else ""
            raise AssertionError(f"no job{which} waits to be run{advice}")
        return job


def _like(expected: Expected, pushed: list[PushedJob]) -> list[PushedJob]:
    same = [job for job in pushed if job.name == expected.name]
    return [job for job in same if not expected.differences(job)]


def _counted(count: int, job: PushedJob) -> int:
    if count >= MOST:
        raise AssertionError(
            f"drain has run {MOST:,} jobs and there are still more, the last one {job}: do jobs "
            "push each other for ever? perform_one runs one at a time"
        )
    return count + 1
