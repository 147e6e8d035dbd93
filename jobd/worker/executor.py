"""The executor: what happens around the function of one job.

From the outside in: the log context, the retry guard (every exception ends here), the server
middleware, the function. It says how the job is to be ended in Redis and sends nothing itself.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from jobd import context, copies, hooks, log, payload, registry
from jobd.config import Config
from jobd.errors import PayloadError, Shutdown
from jobd.middleware import server_middleware
from jobd.redis.inflight import Claimed, InFlight
from jobd.registry import Definition
from jobd.worker.coroutines import Coroutines
from jobd.worker.deadlines import Deadlines
from jobd.worker.metrics import Metrics
from jobd.worker.retry import Retry
from jobd.worker.settlement import Settlement


class Executor:
    """Runs jobs, in any thread."""

    def __init__(
        self,
        config: Config,
        inflight: InFlight,
        coroutines: Coroutines,
        deadlines: Deadlines,
        metrics: Metrics,
    ) -> None:
        self._coroutines = coroutines
        self._deadlines = deadlines
        self._metrics = metrics if config.metrics else None
        self._log = log.get("jobd.job")
        # The fetcher flushes before it acknowledges: a job whose end is in Redis is in the log.
        self._log_done = log.get_held("jobd.job")
        # Asked once: a line that is not written must not cost its arguments.
        self._verbose = config.log_level in ("debug", "info")
        self._debug = config.log_level == "debug"
        self._timed = self._verbose or config.metrics
        self._retry = Retry(config, inflight, self.report)

    def execute(self, job: Claimed) -> Settlement | None:
        """Run *job*.

        Returns:
            None when it is done, else the call that ends it.

        Raises:
            Shutdown: it was cut short at the stop deadline, after it had been given back.
        """
        try:
            work = payload.parse(job.payload)
        except PayloadError as error:
            self._log.error("job_malformed", queue=job.queue, error=str(error))
            self.report(error, {"context": "Invalid JSON for job", "jobstr": job.payload})
            return self._retry.malformed(job, error)
        definition = None
        current = context.CurrentJob(work, job.payload, job.queue, None)
        token = context.set_current(current)
        began = time.monotonic() if self._timed else 0.0
        if self._debug:
            self._log.debug("job_start")
        try:
            definition = current.definition = registry.lookup(work.class_)
            if server_middleware:
                server_middleware.invoke(
                    current, current.payload, job.queue, lambda: self._perform(definition, work)
                )
            else:
                self._perform(definition, work)
        except Shutdown:
            raise
        except BaseException as error:
            copies.end(error)
            if _cut_short(error):
                raise Shutdown from error
            return self._failed(job, definition, error, began)
        else:
            if self._timed:
                elapsed = time.monotonic() - began
                if self._metrics is not None:
                    self._metrics.done(work.class_, elapsed)
                if self._verbose:
                    self._log_done.info("job_done", elapsed=round(elapsed, 3))
            return None
        finally:
            context.reset_current(token)

    def report(self, error: BaseException, about: dict[str, Any]) -> None:
        """Tell the application's error handlers."""
        copies.end(error)
        for handler in hooks.error_handlers:
            try:
                handler(error, about)
            except Shutdown:
                raise
            except BaseException as second:  # noqa: BLE001 - the application's; logged, with its traceback
                copies.end(second)
                self._log.exception("error_handler_failed")

    def _perform(self, definition: Definition, work: payload.Work) -> Any:
        seconds = definition.timeout
        if seconds is None:
            return self._call(definition, work)
        return self._deadlines.run(seconds, lambda: self._call(definition, work))

    def _call(self, definition: Definition, work: payload.Work) -> Any:
        try:
            result = definition.call(work.args, work.kwargs)
        except BaseException as error:
            copies.end(error)
            raise
        if copies.copied:
            copies.end()
        if definition.is_async:
            # The exception of a deadline would not reach a thread that waits for a coroutine.
            coroutine: Coroutine[Any, Any, Any] = result
            return self._coroutines.run(coroutine, definition.timeout)
        return result

    def fail(self, job: Claimed, error: BaseException, began: float) -> Settlement:
        """How *job* is to be ended, which *error* befell and whose own thread does not say so.

        Args:
            began: when it did (monotonic s).
        """
        work = payload.parse(job.payload)
        definition = registry.lookup(work.class_)
        token = context.set_current(context.CurrentJob(work, job.payload, job.queue, definition))
        try:
            return self._failed(job, definition, error, began)
        finally:
            context.reset_current(token)

    def give_up(self, job: Claimed, why: str) -> Settlement:
        """How *job* is to be ended, of which :meth:`execute` has raised an error called *why*."""
        return self._retry.unexplained(job, why)

    def _failed(
        self, job: Claimed, definition: Definition | None, error: BaseException, began: float
    ) -> Settlement:
        tb = error.__traceback__
        while tb is not None and tb.tb_next and tb.tb_frame.f_code.co_filename in OUR_FILES:
            tb = tb.tb_next
        error.__traceback__ = tb
        try:
            settlement = self._retry.failed(job, definition, error)
            about = payload.decode(job.payload)
        except PayloadError as second:
            # A field that no execution needs is broken, e.g. a number out of any range.
            self._log.error("job_malformed", queue=job.queue, error=str(second))
            settlement = self._retry.malformed(job, second)
            about = {}
        # For an unknown one anybody could make up any number of names.
        if definition is not None and self._metrics is not None:
            self._metrics.failed(definition.name)
        self._log.warning(
            "job_failed",
            error=f"{payload.class_of(error)}: {payload.message_of(error)[:500]}",
            outcome=settlement.outcome,
            **({"elapsed": round(time.monotonic() - began, 3)} if self._verbose else {}),
            exc_info=error,
        )
        self.report(error, {"context": "Job raised exception", "job": about})
        return settlement


OUR_FILES = frozenset({__file__, registry.__file__, Deadlines.run.__code__.co_filename})
"""What stands between a job's thread and its function, and says nothing about the job."""


def _cut_short(error: BaseException | None) -> bool:
    """Whether the stop is behind *error*: what a job raises because of it is no failure."""
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, Shutdown):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
