"""The executor: runs one job.

From the outside in: the log context, the admission of a job on which something hangs, the retry
guard (every exception ends here), the server middleware, the function. It decides how the job ends
in Redis but sends nothing itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import cast

from jobd.errors import (
    ArgumentError,
    JobdError,
    PayloadError,
    Retry,
    Shutdown,
    Snooze,
    UnknownJobError,
)
from jobd.jobs import context
from jobd.jobs.app import App
from jobd.jobs.propagation import propagation
from jobd.jobs.registry import Definition, Registry
from jobd.jobs.unrun import finished
from jobd.runtime.ipc.scoreboard import PAYLOAD
from jobd.runtime.log import log
from jobd.runtime.process import forks
from jobd.settings.daemon import Config
from jobd.store.inflight import Claimed, InFlight
from jobd.text import exceptions
from jobd.text.printable import cut
from jobd.wire import attachments, payload, results
from jobd.worker.metrics import Metrics
from jobd.worker.run.admission import Admission
from jobd.worker.run.coroutines import Coroutines
from jobd.worker.run.deadlines import Deadlines
from jobd.worker.run.inputs import StepInputs
from jobd.worker.run.locks import Locks
from jobd.worker.run.pool import Name, cut_short
from jobd.worker.run.retry import Retries
from jobd.worker.run.settlement import Outcome, Settlement
from jobd.worker.tail import Notes


class Executor:
    """Runs the jobs of *app*, in any thread."""

    def __init__(
        self,
        app: App,
        config: Config,
        inflight: InFlight,
        coroutines: Coroutines,
        deadlines: Deadlines,
        metrics: Metrics,
        locks: Locks,
        inputs: StepInputs,
    ) -> None:
        self._registry = app.registry
        self._middleware = app.server_middleware
        self._error_handlers = app.error_handlers
        self._coroutines = coroutines
        self._deadlines = deadlines
        self._metrics = metrics if config.metrics else None
        self._starts = metrics.starts
        self._log = log.get("jobd.job")
        # The fetcher flushes before it acknowledges: a job that has ended in Redis is in the log.
        self._log_done = log.get_held("jobd.job")
        # Read once, so that lines that are not written do not cost their arguments.
        self._verbose = config.log_level in ("debug", "info")
        self._debug = config.log_level == "debug"
        self._always_timed = self._verbose or config.metrics
        self.listen(None)
        self._retry = Retries(app, config, inflight, self.report, coroutines.run)
        self._admission = Admission(
            self._retry, locks, inputs, self.report, self._note, verbose=self._verbose
        )

    def listen(self, notes: Notes | None) -> None:
        """Note in *notes* what happens to jobs, until None is given. Called by another thread."""
        self._notes = notes
        self._timed = self._always_timed or notes is not None
        self._watched = self._debug or self._starts is not None or notes is not None

    def execute(self, job: Claimed, name: Name | None = None) -> Settlement | None:
        """Run *job*. Call it in a context of its own, discarded afterwards.

        Args:
            name: shows the class and jid of a job whose payload does not fit on the scoreboard, if
                there is one.

        Returns:
            None if it succeeded and nothing hangs on it, else how it ends.

        Raises:
            Shutdown: it was interrupted at the stop deadline, after it had been returned.
        """
        try:
            work = job.work or payload.parse(job.payload)
        except PayloadError as error:
            self._log.error("job_malformed", queue=job.queue, error=str(error))
            self.report(error, {"context": "Invalid JSON for job", "jobstr": job.payload})
            return self._retry.malformed(job, error)
        if name is not None and len(job.payload) > PAYLOAD:
            name(work.class_, work.jid)
        definition = None
        current = context.CurrentJob(work, job.payload, job.queue, None)
        context.set_current(current)
        began = time.monotonic() if self._timed else 0.0
        attached = attachments.NONE
        if work.jobd is not None:
            admitted = self._admission.admit(job, work)
            if isinstance(admitted, Settlement):
                return admitted
            attached = admitted
        if self._watched:
            self._starting(job)
        returned = False
        try:
            definition = current.definition = self._registry.lookup(work.class_)
            if self._middleware:
                result = self._perform_wrapped(current, definition, work)
            else:
                result = self._perform(definition, work)
            returned = True
            if current.cancellation is not None:
                current.cancellation.leave()
        except BaseException as error:
            if current.cancellation is not None and not forks.copied:
                try:
                    current.cancellation.leave()
                except BaseException:  # noqa: BLE001 - raised just now, and only once
                    current.cancellation.leave()
            forks.end(error)
            if cut_short():
                raise Shutdown from error
            if current.cancelled and not returned:
                return self._cancelled(job, definition, error, began)
            if not returned:
                return self._raised(job, work, definition, error, began)
        if self._timed:
            elapsed = time.monotonic() - began
            if self._metrics is not None:
                class_, wrapped = work.class_, work.wrapped
                self._metrics.done(counted_as(class_, wrapped) if wrapped else class_, elapsed)
            if self._verbose:
                self._log_done.info("job_done", elapsed=round(elapsed, 3))
            if self._notes is not None:
                self._note("done", job, began)
        return None if attached is attachments.NONE else self._done(job, attached, result)

    def report(self, error: BaseException, about: dict[str, object]) -> None:
        """Call the application's error handlers."""
        forks.end(error)
        for handler in self._error_handlers:
            try:
                finished("an error handler", handler(error, about), self._coroutines.run)
            except BaseException as second:
                forks.end(second)
                if cut_short():
                    raise
                self._log.exception("error_handler_failed")

    def _starting(self, job: Claimed) -> None:
        """Say that *job* starts, to those who want to know."""
        if self._starts is not None:
            self._starts.note(job.queue, job.payload)
        if self._debug:
            self._log.debug("job_start")
        self._note("started", job)

    def _note(
        self, event: str, job: Claimed, began: float = 0.0, outcome: str = "", error: str = ""
    ) -> None:
        if (notes := self._notes) is not None:
            notes.note(event, job, began, outcome, error)

    def _perform_wrapped(
        self, current: context.CurrentJob, definition: Definition, work: payload.Work
    ) -> object:
        """Run it inside the middleware; its result is that of the function."""
        result: object = None

        def perform() -> object:
            nonlocal result
            result = self._perform(definition, work)
            return result

        around = self._coroutines.around
        self._middleware.invoke(current, current.payload, current.queue, perform, around)
        return result

    def _done(
        self, job: Claimed, attached: attachments.Attachments, result: object
    ) -> Settlement | None:
        """How a job ends that has succeeded and on which something hangs."""
        if not attached.ends_apart:
            return None
        try:
            return self._ended_apart(job, attached, result)
        except ArgumentError as error:
            return self._not_kept(job, attached, error)

    @staticmethod
    def _ended_apart(job: Claimed, attached: attachments.Attachments, result: object) -> Settlement:
        """The same, of one that cannot end with those on which nothing hangs.

        Raises:
            ArgumentError: the result cannot be kept.
        """
        detail, node = b"", attached.node
        if attached.result is not None or (node is not None and node.gives):
            detail = results.done(result)
        elif node is not None and result is not None:  # for those who look at the workflow
            detail = results.done_if_possible(result)
        return Settlement(job, b"", Outcome.DONE, detail)

    def _not_kept(
        self, job: Claimed, attached: attachments.Attachments, error: ArgumentError
    ) -> Settlement:
        """How a job ends whose result cannot be kept."""
        if attached.node is not None and attached.node.gives:
            return self._admission.hopeless(job, error)
        self._log.error("result_not_kept", error=str(error))
        about: dict[str, object] = {}
        with suppress(PayloadError):
            about = payload.decode(job.payload)
        self.report(error, {"context": "Result not kept", "job": about})
        return Settlement(job, b"", Outcome.DONE, results.not_kept(str(error)))

    def _perform(self, definition: Definition, work: payload.Work) -> object:
        if definition.timeout is not None:
            return self._perform_in_time(definition, work, definition.timeout)
        result = self._call(definition, work)
        if result is None:
            return None
        return finished(definition.name, result, self._coroutines.run)

    def _perform_in_time(
        self, definition: Definition, work: payload.Work, seconds: float
    ) -> object:
        def call() -> object:
            end = time.monotonic() + seconds
            result = self._call(definition, work)
            # JobTimeout would not reach a thread that waits for a coroutine.
            left = end - time.monotonic()
            return finished(definition.name, result, partial(self._coroutines.run, seconds=left))

        return self._deadlines.run(seconds, call)

    def _call(self, definition: Definition, work: payload.Work) -> object:
        try:
            result = definition.function(*work.args, **work.kwargs)
        except BaseException as error:
            forks.end(error)
            raise
        if forks.copied:
            forks.end()
        return result

    def fail(self, job: Claimed, error: BaseException, began: float) -> Settlement:
        """Decide how *job* ends after *error*, on behalf of its own thread.

        Args:
            began: when the job started (monotonic s).
        """
        return Context().run(self._fail, job, error, began)

    def _fail(self, job: Claimed, error: BaseException, began: float) -> Settlement:
        work = payload.parse(job.payload)
        definition = self._registry.lookup(work.class_)
        context.set_current(context.CurrentJob(work, job.payload, job.queue, definition))
        if work.jobd is not None and (values := attachments.read(work.jobd).context):
            propagation.restore(values)
        return self._failed(job, definition, error, began)

    def give_up(self, job: Claimed, why: str) -> Settlement:
        """Decide how *job* ends after :meth:`execute` raised an error of the class *why*."""
        return self._retry.unexplained(job, why)

    def _cancelled(
        self,
        job: Claimed,
        definition: Definition | None,
        error: BaseException,
        began: float,
    ) -> Settlement:
        """How a job ends that has been cancelled and has not returned, whatever it has raised."""
        self._retry.tell_cancelled(job, definition)
        self._note("cancelled", job, began)
        if self._verbose:
            self._log_done.info(
                "job_cancelled",
                outcome=Outcome.CANCELLED,
                error=exceptions.class_of(error),
                elapsed=round(time.monotonic() - began, 3),
            )
        return Settlement(job, b"", Outcome.CANCELLED)

    def _raised(
        self,
        job: Claimed,
        work: payload.Work,
        definition: Definition | None,
        error: BaseException,
        began: float,
    ) -> Settlement:
        """How a job ends that has raised: by a failure, unless it has asked for something else."""
        kind = type(error)
        if issubclass(kind, Snooze):
            delay = cast(Snooze, error).delay
            try:
                settlement = self._retry.snoozed(job, work.jobd, delay)
            except JobdError as second:
                return self._failed(job, definition, second, began)
            if self._verbose:
                self._log_done.info("job_snoozed", delay=delay)
            self._note("snoozed", job, began)
            return settlement
        if issubclass(kind, Retry):
            reason = exceptions.cause_of(error) or error
            return self._failed(job, definition, reason, began, cast(Retry, error).after)
        return self._failed(job, definition, error, began)

    def _failed(
        self,
        job: Claimed,
        definition: Definition | None,
        error: BaseException,
        began: float,
        asked: float | None = None,
    ) -> Settlement:
        _leave_us_out(error)
        about: dict[str, object] = {}
        try:
            settlement = self._retry.failed(job, definition, error, asked)
            about = payload.decode(job.payload)
        except JobdError as second:
            # A field that execution does not need is invalid, e.g. a number out of range.
            self._log.error("job_malformed", queue=job.queue, error=str(second))
            settlement = self._retry.malformed(job, second)
        # Not for unknown jobs: clients could create any number of names.
        if definition is not None and self._metrics is not None:
            self._metrics.failed(counted_as(definition.name, about.get("wrapped")))
        told = f"{exceptions.class_of(error)}: {cut(exceptions.message_of(error), 500)}"
        said = {
            "error": told,
            "outcome": settlement.outcome,
            **({"elapsed": round(time.monotonic() - began, 3)} if self._verbose else {}),
        }
        self._note("failed", job, began, settlement.outcome, told)
        if asked is not None and settlement.outcome is Outcome.RETRY:
            self._log.info("job_failed", **said, delay=asked)
            return settlement
        try:
            # Of an unknown job, the traceback would only show us.
            shown = None if isinstance(error, UnknownJobError) and definition is None else error
            self._log.warning("job_failed", **said, exc_info=shown)
        except BaseException as second:
            if cut_short():
                raise
            self._log.warning("job_failed", **said, unreadable=exceptions.class_of(second))
        self.report(error, {"context": "Job raised exception", "job": about})
        return settlement


def counted_as(name: str, wrapped: object) -> str:
    """The name under which an execution of the job *name* is counted: as in Sidekiq, that of the
    wrapped job, if the payload has one."""
    return wrapped if type(wrapped) is str and 0 < len(wrapped) <= exceptions.MAX_CLASS else name


_OURS = Path(Executor.execute.__code__.co_filename)
OUR_FILES = frozenset(
    (
        str(_OURS),
        str(_OURS.with_name("loop_executor.py")),
        Deadlines.run.__code__.co_filename,
        Registry.lookup.__code__.co_filename,
        Coroutines.run.__code__.co_filename,
        finished.__code__.co_filename,
    )
)
"""Our files between a job's thread and its function, left out of tracebacks."""


def _leave_us_out(error: BaseException) -> None:
    """Make the traceback begin in the job."""
    tb = exceptions.traceback_of(error)
    while tb is not None and tb.tb_next and tb.tb_frame.f_code.co_filename in OUR_FILES:
        tb = tb.tb_next
    BaseException.with_traceback(error, tb)  # the error's class may override it
