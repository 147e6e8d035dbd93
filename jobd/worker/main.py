"""The main thread of a worker process: boot, work, quiet, stop.

Booting loads the application, waits for Redis and starts the threads. At the stop deadline the
unfinished jobs are first returned to their queues and only then are their threads interrupted, so
that no job is lost whatever its thread does with the interrupt.
"""

from __future__ import annotations

import time
from signal import Signals
from typing import TYPE_CHECKING

import redis

from jobd.errors import ApplicationError, Exit, JobdError, ThreadsError

# Jobs import this and enqueue (below) at their first need. A process that a job forks while another
# thread does would wait for ever for that thread, which it does not have.
from jobd.features.results import result  # noqa: F401
from jobd.jobs import context, loading
from jobd.jobs.app import App, default
from jobd.jobs.hooks import Event
from jobd.runtime.child.mainloop import TURN, Child, signals_blocked
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.messages import FromMaster, Unknown
from jobd.runtime.ipc.scoreboard import BUSY
from jobd.runtime.log import log
from jobd.store import enqueue  # noqa: F401
from jobd.store.connection import connect
from jobd.store.control import Look
from jobd.store.keys import Keys
from jobd.text import exceptions
from jobd.worker import threadstacks
from jobd.worker.application_warnings import warn_of_application
from jobd.worker.beside import Beside
from jobd.worker.control import Control
from jobd.worker.engine import Engine, Owner
from jobd.worker.heartbeat import Heartbeat
from jobd.worker.outside import Outside
from jobd.worker.overdue import Overdue
from jobd.worker.progress import Progress, Stalls
from jobd.worker.run.cancelling import CancelRequests, LoopJobs, Threads
from jobd.worker.run.loop import maker
from jobd.worker.run.watchdog import Watchdog
from jobd.worker.schedules import Schedules
from jobd.worker.server_wait import wait_for_redis
from jobd.worker.tail import Tail

if TYPE_CHECKING:
    from jobd.runtime.child.seat import Seat

GIVE_BACK = 5.0
"""Seconds to return unfinished jobs to Redis at the deadline."""

CLEAN_UP = 3.0
"""Seconds that interrupted jobs have for their ``finally`` blocks."""

ORPHANED = 20.0
"""Most seconds that a worker keeps running after its master has died."""

END_LOOP = 1.0
"""Seconds for what still runs on the event loop when all jobs have ended."""

LEAVE = 2.0
"""Seconds for the last calls to Redis."""


def main(seat: Seat, app: App | None = None) -> int:
    """Run a worker; returns its exit code.

    Args:
        app: its application, if the zygote has already loaded it.
    """
    return Worker(seat, app).run()


class Worker(Child):
    """The main thread and everything that it starts."""

    _overdue: Overdue
    _schedules: Schedules | None = None

    def __init__(self, seat: Seat, app: App | None) -> None:
        super().__init__(seat)
        self._app = app or default
        self._loaded = app is not None
        config = seat.config
        self._client = connect(config.redis)
        self._keys = keys = Keys(config.prefix)
        owner = Owner(self._client, keys, seat.identity)
        self._engine = engine = Engine(owner, config, seat.page, self.bell.ring, self.bell.ring)
        self._fetcher = engine.fetcher
        self._watchdog = Watchdog(engine.loop, engine.tasks)
        self._fold_at = 0.0
        runners = (Threads(engine.pool, engine.coroutines), LoopJobs(engine.tasks, engine.loop))
        self._cancelling = CancelRequests(runners, engine.fetcher.cancel, seat.page)
        self._hooks = Beside("hooks", self.bell.ring)
        self._decisions = Beside("overdue")
        self._outside = Outside(
            self._quiet_from_outside,
            self._stop_from_outside,
            self._show_stacks,
            config.timeout,
            self.log,
            self.bell.ring,
        )
        self._heartbeat = Heartbeat(
            self._client,
            keys,
            seat.identity,
            config,
            engine.working,
            engine.metrics,
            self._watchdog.worst,
            engine.coroutines_at_most,
            self._outside.take,
            self._cancelling.request,
            engine.fetcher.doubt_lease,
            self.bell.ring,
        )
        self._control = Control(self._client, keys, seat.identity, self._look, self.bell.ring)
        self._control_told = ""
        self._tail = Tail(self._client, keys, seat.identity, engine.listen)
        self._progress = Progress(self._client, keys, seat.identity, engine.working)
        self._stalls = Stalls(self._progress.last)
        self._working = False
        self._quiet = False
        self._idle_told = False
        self._deadline: float | None = None
        self._interrupted_told = 0

    def run(self) -> int:
        log.add_context(lambda: context.log_fields(context.running_job()))
        try:
            self._boot()
        except JobdError as error:
            return self._failed(error)
        while self.exit_code is None:
            due = self._engine.deadlines.next
            if self._deadline is not None:
                due = min(due, self._deadline)
            self.turn(min(TURN, due - time.monotonic()))
        return self.exit_code

    # -- booting -------------------------------------------------------------------------------

    def _boot(self) -> None:
        config = self.seat.config
        if config.loop == "uvloop":
            maker(config.loop)
        if not self._loaded:
            self._app = loading.load_for(config)
        self._engine.load(self._app)
        self._overdue = Overdue(
            config.job_kill_grace, self._engine, self._cancelling, self._decisions
        )
        wait_for_redis(self, self._client)
        if self.ended():
            return
        try:
            self._fire("startup")
        except BaseException as error:
            self.log.exception("startup_hook_failed")
            raise ApplicationError(
                "a startup hook of the application raised "
                f"{exceptions.class_of(error)}: {exceptions.message_of(error)}"
            ) from error
        loading.require_threads()
        # The application, or a library of it, may have replaced signal handlers.
        self.seat.listen()
        self._start_threads()
        self._working = True
        while not (self._fetcher.registered and self._heartbeat.seen) and not self.ended():
            self.turn()
        if self.ended():
            return
        # Sent before the first claim: a worker killed by its first job has not failed to boot.
        self.tell(messages.Ready())
        if not self._quiet:
            self._fetcher.resume()
        self.log.info(
            "worker_ready",
            concurrency=config.concurrency,
            queues=",".join(queue.name for queue in config.queues),
        )
        if self.seat.index == 0:
            warn_of_application(self._app, config, self.log)

    def _start_threads(self) -> None:
        """Start every thread that this process will ever need, so that a stop starts none."""
        config = self.seat.config
        self._fetcher.quiet()
        context.on_progress = self._progress.report
        try:
            self._engine.start_threads(self._watchdog.wake)
            self._hooks.start()
            self._decisions.start()
            if self.seat.index == 0:
                registry, since = self._app.registry, self.seat.since
                self._schedules = Schedules(self._client, self._keys, registry, config, since)
            with signals_blocked():
                if self._schedules is not None:
                    self._schedules.start()
                self._fetcher.start()
                self._heartbeat.start()
                self._control.start()
        except RuntimeError as error:
            raise ThreadsError(
                f"concurrency {config.concurrency}: not all threads of the worker can be "
                f"started ({error}); raise their limit (ulimit -u, TasksMax), or lower it"
            ) from None

    def _failed(self, error: JobdError) -> int:
        cause = error.__cause__
        self.log.error("worker_cannot_start", error=str(error), exc_info=cause)
        code = int(error.exit_code)
        self.tell(messages.Failed(code, permanent=True, reason=str(error)))
        return code

    # -- signals and messages --------------------------------------------------------------------

    def on_signal(self, signal: Signals) -> None:
        self._outside.on_signal(signal)

    def on_message(self, message: FromMaster | Unknown) -> None:
        match message:
            case messages.Quiet():
                self._go_quiet()
            case messages.Resume():
                self._resume()
            case messages.Lead():
                self._fire_beside("leader")
            case messages.Stop():
                self._stop(message.deadline)
            case _:
                self.log.warning("message_unknown", message=messages.type_of(message))

    def on_orphaned(self) -> None:
        self.log.error("master_gone")
        self._stop(time.monotonic() + min(self.seat.config.timeout, ORPHANED))

    def _look(self, look: Look) -> None:
        """Called by the listener of the control channel."""
        match look:
            case Look.SIGNALS | Look.CANCELS:
                self._heartbeat.look()
            case Look.TAIL:
                self._tail.heard()

    def _watch_control(self) -> None:
        if self._deadline is None:
            self._control = self._control.alive()
        if (trouble := self._control.trouble) != self._control_told:
            self._control_told = trouble
            self.tell(messages.Control(trouble))

    def tick(self) -> None:
        now = time.monotonic()
        self.seat.page.words[BUSY] = len(self._engine.working())
        self._engine.deadlines.enforce(now)
        if now >= self._fold_at:
            self._fold_at = now + TURN
            self._engine.metrics.fold()
            self._stalls.look(self._engine.working())
            if self._working:
                self._engine.pool.replace_lost(start=self._deadline is None)
                self._engine.tasks.settle_lost()
        if self._working:
            self.tell_outage(self._fetcher.outage or self._heartbeat.outage)
            self._watch_control()
        self._outside.obey()
        idle = not self._working or self._fetcher.idle
        if self._quiet and idle and not self._idle_told:
            self._idle_told = True
            self.tell(messages.Idle())
        if self._deadline is None or self.exit_code is not None:
            return
        busy = self._hooks.busy
        if idle and not busy:
            self.exit_code = self._leave()
        elif time.monotonic() >= self._deadline or (not busy and self._overdue.alone):
            self.exit_code = self._cut_short()

    # -- going quiet and stopping ----------------------------------------------------------------

    def _quiet_from_outside(self, cause: str) -> None:
        if not self._quiet:
            self.tell(messages.Quieting(cause))
            self._go_quiet()

    def _stop_from_outside(self, cause: str, timeout: float) -> None:
        self.tell(messages.Stopping(cause))
        self.log.info("worker_told_to_stop", cause=cause)
        self._stop(time.monotonic() + timeout)

    def _go_quiet(self) -> None:
        if not self._quiet:
            self._quiet = True
            self._idle_told = False
            self._heartbeat.quiet = True
            if self._working:
                self._fetcher.quiet()
                self._heartbeat.wake()
                self._fire_beside("quiet")
            self.log.info("worker_quiet", running=len(self._engine.working()))
        self.tell(messages.Quieted())

    def _resume(self) -> None:
        if self._quiet and self._deadline is None:
            self._quiet = False
            self._heartbeat.quiet = False
            if self._working:
                self._fetcher.resume()
                self._heartbeat.wake()
            self.log.info("worker_resumed")
        self.tell(messages.Resumed())

    def _stop(self, deadline: float) -> None:
        """Stop by *deadline* (monotonic s); a later call can only make it earlier."""
        if self._deadline is not None:
            self._deadline = min(self._deadline, deadline)
            return
        self._deadline = deadline
        context.stopping.set()
        self._go_quiet()
        if self._working:
            self._fire_beside("shutdown")
        left = max(0.0, deadline - time.monotonic())
        self.log.info(
            "worker_stopping", running=len(self._engine.working()), seconds=round(left, 1)
        )

    def _fire(self, event: Event) -> None:
        """Run the application's hooks."""
        engine = self._engine
        self._app.hooks.fire(event, engine.executor.report, engine.coroutines.run)

    def _fire_beside(self, event: Event) -> None:
        """The same outside the main thread, which must stay responsive."""
        self._hooks.do(lambda: self._fire(event))

    def _cut_short(self) -> int:
        """Return the unfinished jobs to their queues, then interrupt them. Jobs past their own
        time limit fail instead: otherwise they would be cut short again and again."""
        running, jobs = self._engine.running()
        failed = self._overdue.fail()
        self.log.warning("jobs_cut_short", running=running, overdue=failed, jobs=jobs)
        returned = self._fetcher.surrender(GIVE_BACK)
        self._tell_interrupted()
        if not self._engine.interrupt(CLEAN_UP):
            running, jobs = self._engine.running()
            self.log.warning("jobs_do_not_end", running=running, jobs=jobs)
        if not returned and (left := self._fetcher.holding):
            self.log.error("jobs_not_given_back", jobs=left)
        return self._leave()

    def _tell_interrupted(self) -> None:
        """Tell the master how many jobs have been returned since the last message."""
        jobs = self._fetcher.interrupted - self._interrupted_told
        if jobs:
            self._interrupted_told += jobs
            self.tell(messages.Interrupted(jobs))

    def _leave(self) -> int:
        if not self._working:
            return int(Exit.OK)
        self._control.stop(LEAVE)
        self._tail.stop(LEAVE)
        self._heartbeat.stop(LEAVE)
        code = Exit.OK
        # Without jobs there is nothing to recover: an empty lease may simply expire.
        if not self._fetcher.close(LEAVE) and self._fetcher.may_hold:
            # The master has the keeper return what is left.
            code = Exit.JOBS_LEFT
        self._tell_interrupted()
        try:
            self._heartbeat.leave()
            self._progress.leave(LEAVE)
        except redis.RedisError as error:
            self.log.warning("worker_not_unlisted", error=str(error))
        self._fire_beside("exit")
        self._hooks.wait(CLEAN_UP)
        if stuck := self._engine.loop.close(END_LOOP):
            self.log.warning("tasks_do_not_end", tasks=len(stuck), first=stuck[0])
        log.flush()  # lines of jobs that the fetcher could no longer acknowledge
        self.log.info("worker_stopped")
        return int(code)

    def _show_stacks(self) -> None:
        text = self.stacks()
        self.log.warning("thread_dump", stack=text)
        self._heartbeat.show_stacks(text)

    def stacks(self, *, busy: bool = False, arguments: bool = False) -> str:
        waiting = {one.name for one in (self._hooks, self._decisions) if not one.busy}
        waiting |= {self._watchdog.name, *self._engine.tasks.deciders}
        who = f"{self.seat.role} {self.seat.identity}"
        return threadstacks.dump(who, self._engine, waiting, busy=busy, arguments=arguments)
