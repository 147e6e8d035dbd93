"""A world in which jobs run without Redis, without a daemon and without waiting.

The store is in memory and runs jobd's own Lua scripts; the code that pushes, looks at jobs, runs
them, retries them and recovers them is that of the real system. The world calls it in one thread,
and its clock moves only when the test says so: hours pass in no time, in the same way each time.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from jobd.api.entry import Api
from jobd.api.queues.queues import Queue
from jobd.api.sets.sets import DeadSet, RetrySet, ScheduledSet
from jobd.errors import ArgumentError, JobdError
from jobd.jobs import context, transports
from jobd.jobs.app import App, default
from jobd.jobs.decorators import FunctionJob
from jobd.settings.daemon import Config, QueueSpec
from jobd.store.inflight import split_tag
from jobd.store.keys import Keys
from jobd.store.protocol import pack
from jobd.testing.simulated_keeper import Keeper
from jobd.testing.simulated_store import Memory, Replacement, Store
from jobd.testing.simulated_ticks import Ticks
from jobd.testing.simulated_time import Time, moment_of, seconds_of
from jobd.testing.simulated_worker import Fate, Point, Worker

MOST = 100_000
"""Jobs that one call runs; more are taken for jobs that push each other for ever."""


class World:
    """What :func:`world` opens.

    Attributes:
        api: the data API on everything in the world.
        redis: a client of its store, for what the data API does not show.
        errors: the exceptions that jobs have raised, the oldest first.
    """

    def __init__(
        self,
        app: App,
        config: Config,
        queues: Sequence[str],
        time: Time,
        store: Store,
        *,
        ticks: bool,
    ) -> None:
        keys = Keys(app.client.prefix)
        self._time = time
        self._store = store
        self._keys = keys
        client = self.redis = store.client
        self.api = Api(
            client,
            keys.prefix,
            dead_max_jobs=config.dead_max_jobs,
            dead_timeout=config.dead_timeout,
            app=app,
        )
        self._worker = Worker(app, config, client, keys, queues, store.cut_off)
        self.errors = self._worker.errors
        self._ticks = Ticks(app, config, client, keys, wanted=ticks)
        self._keeper = Keeper(config, client, keys, time, self._ticks, self._worker)
        store.on_message = self._heard
        self._ticks.tell()

    # -- looking -----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time in the world, in seconds since 1970."""
        return self._time.now()

    def queue(self, name: str = "default") -> Queue:
        """A queue, as the data API shows it."""
        return self.api.queue(name)

    @property
    def scheduled(self) -> ScheduledSet:
        """Jobs that wait for their time."""
        return self.api.scheduled

    @property
    def retries(self) -> RetrySet:
        """Jobs that have failed and will be tried again."""
        return self.api.retries

    @property
    def dead(self) -> DeadSet:
        """Jobs that will not be tried again."""
        return self.api.dead

    # -- running -----------------------------------------------------------------------------------

    def run(self, most: int = MOST) -> int:
        """Run what is queued or due now, and what that pushes, one after the other.

        Args:
            most: stop after so many jobs.

        Returns:
            How many were run; those that were killed count as well.

        Raises:
            JobdError: 100,000 jobs have run, and there are more.
        """
        done = 0
        while True:
            self._keeper.turn()
            before = done
            while done < most and self._worker.work():
                done += 1
                self._keeper.bury()
            if done >= MOST:
                raise JobdError(
                    f"{done:,} jobs have run and there are more: do they push each other for ever? "
                    "Use run(most=…) if they should"
                )
            if done == before or done >= most:
                return done

    def drain(self) -> int:
        """Run everything: what is queued, then what is scheduled or will be retried, with the clock
        moved on to each, until nothing waits any more. Periodic jobs run meanwhile when their time
        comes, and are nothing to wait for.

        Returns:
            How many jobs were run.

        Raises:
            JobdError: 100,000 jobs have run, and there are more.
        """
        done = self.run()
        while (due := self._keeper.first_due()) is not None or self._keeper.holds_lost():
            at = self._keeper.next()
            self._move(at if due is None else min(at, self._time.at(due)))
            done += self.run()
            if done >= MOST:
                raise JobdError(f"{done:,} jobs have run and there are more: do they never end?")
        return done

    def advance(self, span: float | timedelta | None = None, **parts: float) -> int:
        """Let time pass: what becomes due runs at its time, in order.

        Args:
            span: seconds, or a timedelta.
            parts: instead: ``weeks``, ``days``, ``hours``, ``minutes``, ``seconds``, as for a
                timedelta.

        Returns:
            How many jobs were run.

        Raises:
            ArgumentError: it is not a length of time.

        Example:
            >>> w.advance(hours=3)  # doctest: +SKIP
            2
        """
        try:
            seconds = seconds_of(span, parts)
        except TypeError as error:
            raise ArgumentError(f"advance(): {error}") from None
        return self._pass(self._time.micros + round(seconds * 1e6))

    def advance_to(self, when: float | datetime) -> int:
        """The same, until that time (seconds since 1970, or an aware datetime)."""
        return self._pass(self._time.at(moment_of(when)))

    def _pass(self, end: int) -> int:
        done = self.run()
        while (at := self._keeper.next()) <= end:
            self._move(at)
            done += self.run()
        self._move(end)
        return done + self.run()

    def _wait(self, ended: Callable[[], bool], seconds: float | None) -> None:
        """Let time pass until *ended*, for somebody who waits for a result."""
        end = 2**61 if seconds is None else self._time.micros + round(seconds * 1e6)
        self.run()
        # Without an end, periodic jobs are nothing to wait for: they never stop coming.
        while not ended() and self._keeper.next(ticks=seconds is not None) <= end:
            self._move(self._keeper.next())
            self.run()
        if ended():
            return
        if seconds is None:
            raise JobdError(
                "nothing in this world will end that job, so waiting for its result has no end"
            )
        self._move(end)
        self.run()

    # -- deaths ------------------------------------------------------------------------------------

    def kill_during(
        self, job: FunctionJob[..., object], *, at: Point = "end", host: bool = False
    ) -> None:
        """Let the worker die that runs *job* the next time; call it again for the time after.

        Args:
            at: ``"end"``: all of the job has been executed, and nobody knows; a second run must do
                no harm. ``"start"``: nothing of it has.
            host: its whole host dies, so that nobody notices: the job is recovered after its lease
                has ended, a minute later. Otherwise the master notices at once, and marks the job;
                the third time it goes to the dead set, so that it kills no more workers.
        """
        fate = Fate(_one_of("at", at, ("start", "end")), "host" if host else "worker")
        self._worker.fates.setdefault(_name(job), deque()).append(fate)

    def stop_during(self, job: FunctionJob[..., object], *, at: Point = "end") -> None:
        """Let the worker be stopped that runs *job* the next time, as by a deploy: the job does not
        end in time, and goes back to the head of its queue."""
        fate = Fate(_one_of("at", at, ("start", "end")), "nothing")
        self._worker.fates.setdefault(_name(job), deque()).append(fate)

    def kill(self, *, host: bool = False) -> None:
        """Let the worker die here: to be called in a job, by a mock of what it calls for example.

        Raises:
            JobdError: no job of this world runs here.
        """
        self._worker.meet(Fate("end", "host" if host else "worker"))

    # -- time and messages -------------------------------------------------------------------------

    def _move(self, micros: int) -> None:
        before = self._time.micros
        self._time.move(micros)
        self._store.moved(self._time.micros - before)

    def _heard(self, channel: bytes, _message: bytes) -> None:
        """A message on the control channel: a job that runs is to be cancelled."""
        if not channel.decode(errors="replace").endswith(self._worker.identity):
            return
        requests = self._worker.line.ask(pack("HKEYS", self._keys.cancels(self._worker.identity)))
        places = map(split_tag, requests)
        self._worker.cancel([place[0] for place in places if place is not None])

    # -- open and closed ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        before, context.on_progress = context.on_progress, self._worker.report
        try:
            yield
        finally:
            context.on_progress = before
            self._worker.close()


def _name(job: object) -> str:
    name = getattr(job, "name", None)
    if not isinstance(name, str):
        raise ArgumentError(f"{job!r} is not a job")
    return name


def _one_of(what: str, value: Point, known: tuple[Point, ...]) -> Point:
    if value not in known:
        raise ArgumentError(f"{what} must be one of {', '.join(known)}, not {value!r}")
    return value


_opened: list[str] = []
_lock = threading.Lock()


@contextlib.contextmanager
def world(
    *,
    app: App | None = None,
    queues: Sequence[str] = (),
    now: float | datetime | None = None,
    seed: int = 0,
    follow: Callable[[float], object] | None = None,
    ticks: bool = True,
    **settings: object,
) -> Iterator[World]:
    """Open a world: until the block ends, everything that this process pushes goes there, and the
    clock of jobd is the world's.

    Args:
        app: whose jobs its worker runs; the default application.
        queues: what its worker serves, in strict order; by default all queues, by name.
        now: the time at the beginning; by default the real one.
        seed: of the random numbers: ids, and what is added to the delays of retries.
        follow: called with the time at the beginning and whenever it has moved, e.g. to move the
            clock of your own code as well.
        ticks: whether periodic jobs are pushed when their time comes.
        settings: of the daemon: ``max_retries``, ``dead_max_jobs`` and so on.

    Raises:
        JobdError: another world is open in this process.
        ConfigError: lupa is not installed.
        ArgumentError: there is no such setting.

    Example:
        >>> with world() as w:  # doctest: +SKIP
        ...     welcome.perform_in(3600, 42)
        ...     w.advance(hours=1)
        1
    """
    moment = time.time() if now is None else moment_of(now)
    with opened(
        app or default, queues, Time(moment, seed, follow), Memory, settings, ticks=ticks
    ) as made:
        yield made


@contextlib.contextmanager
def opened(
    app: App,
    queues: Sequence[str],
    time: Time,
    store: Callable[[Time], Store],
    settings: dict[str, Any],
    *,
    ticks: bool = True,
) -> Iterator[World]:
    """:func:`world`, on any store."""
    named = tuple(QueueSpec(name, 0) for name in queues) or (QueueSpec("default", 0),)
    if isinstance(queues, str):
        raise ArgumentError(f"queues must be a list of names, not {queues!r}")
    try:
        config = Config(
            **{
                "queues": named,
                "concurrency": 1,
                "metrics": False,
                "log_level": "warning",
                **settings,
            }
        )
    except TypeError as error:
        raise ArgumentError(f"world(): {error}") from None
    with _alone():
        kept = store(time)
        time.begin()
        try:
            replacement = Replacement(kept.client)
            # First of all: what is in the place of Redis outside may refuse to be asked.
            with transports.replaced(replacement):
                made = World(app, config, queues, time, kept, ticks=ticks)
                replacement.wait = made._wait
                with made._open():
                    yield made
        finally:
            time.end()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with _lock:
        if _opened:
            raise JobdError(
                f"a world is open already, since {_opened[0]}: there is one clock in a process. "
                "Leave its block, or close it in that test, first"
            )
        _opened.append(_caller())
    try:
        yield
    finally:
        _opened.clear()


def _caller() -> str:
    """Where a world is opened."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename in (__file__, contextlib.__file__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
