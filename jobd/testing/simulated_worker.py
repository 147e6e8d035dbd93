"""The worker of a world: it claims one job at a time and runs it in the thread of the test.

What decides is that of a real worker: the scripts, the executor with its retries, and the ledger.
Only the fetcher with its threads and waits is not here.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

import redis

from jobd.ambient import chance
from jobd.errors import JobdError, PayloadError
from jobd.jobs import context
from jobd.jobs.app import App
from jobd.jobs.registry import Definition
from jobd.runtime.log import log
from jobd.runtime.process.identity import identity
from jobd.settings.daemon import Config
from jobd.store.connection import Connection
from jobd.store.inflight import Claimed, InFlight
from jobd.store.keys import Keys
from jobd.store.protocol import Reply, pack
from jobd.store.scripts import OF_A_WORKER
from jobd.wire import payload
from jobd.wire.payload import Work
from jobd.worker.fetch.ledger import Ledger
from jobd.worker.metrics import Metrics
from jobd.worker.run.cancelling import Threads
from jobd.worker.run.coroutines import Coroutines
from jobd.worker.run.deadlines import Deadlines
from jobd.worker.run.executor import Executor
from jobd.worker.run.inputs import StepInputs
from jobd.worker.run.locks import Locks
from jobd.worker.run.loop import EventLoop
from jobd.worker.run.pool import Pool, Working
from jobd.worker.run.settlement import Settlement

if TYPE_CHECKING:
    from jobd.testing.simulated_reports import Reports

Point = Literal["start", "end"]
Loss = Literal["worker", "host", "nothing"]


class Fate(NamedTuple):
    """What befalls the worker that runs a job: where, and what is lost; nothing if it is stopped
    and gives the job back."""

    at: Point
    loss: Loss


class Death(BaseException):
    """Raised in a job where its worker dies, so that nothing after it is executed."""


class Line:
    """The worker's own connection, on which it sends packed calls."""

    def __init__(self, client: redis.Redis) -> None:
        made: Any = client.connection_pool.make_connection()
        self._connection: Connection = made
        self._connection.connect()
        for script in OF_A_WORKER:
            self.ask(script.load())

    def ask(self, packed: bytes) -> Reply:
        """Send a call; returns the reply.

        Raises:
            redis.ResponseError: it was refused.
        """
        self._connection.send_packed_command([packed], check_health=False)
        return self._connection.read_response(disable_decoding=True)

    def close(self) -> None:
        self._connection.disconnect()


class _Executor(Executor):
    """The executor, in which a job may end with its worker.

    Attributes:
        errors: what jobs have raised.
        is_dead: whether the worker has died in the job: what it raises then does not count.
    """

    errors: list[BaseException]
    is_dead: Callable[[], bool]

    def _raised(
        self,
        job: Claimed,
        work: Work,
        definition: Definition | None,
        error: BaseException,
        began: float,
    ) -> Settlement:
        if self.is_dead():
            raise Death from error
        return super()._raised(job, work, definition, error, began)

    def report(self, error: BaseException, about: dict[str, object]) -> None:
        self.errors.append(error)
        super().report(error, about)


class _Doomed(_Executor):
    """The executor of a job whose worker will die.

    Attributes:
        meet: lets it die.
    """

    fate: Fate
    meet: Callable[[Fate], None]

    def _call(self, definition: Definition, work: Work) -> object:
        if self.fate.at == "start":
            self.meet(self.fate)
        result = super()._call(definition, work)
        if inspect.isawaitable(result):
            return self._dying(result)
        self.meet(self.fate)
        raise AssertionError

    async def _dying(self, awaitable: Awaitable[object]) -> None:
        await awaitable
        self.meet(self.fate)


E = TypeVar("E", bound=_Executor)


class Died(NamedTuple):
    """A worker that has died: its identity, the job that it ran, and what was lost."""

    identity: str
    job: Claimed
    loss: Loss


class Worker:
    """One worker after another: the next one begins where one has died.

    Args:
        queues: names of the queues that it serves, in that order; all, by name, if there are none.
        cut_off: called with the thread from which nothing must be stored any more; 0 for none.
    """

    def __init__(
        self,
        app: App,
        config: Config,
        client: redis.Redis,
        keys: Keys,
        queues: Sequence[str],
        cut_off: Callable[[int], None],
    ) -> None:
        self._config = config
        self._client = client
        self._keys = keys
        self._queues = tuple(queues)
        self._cut_off = cut_off
        self._loop = EventLoop("asyncio")
        self._coroutines = Coroutines(self._loop)
        self._app = app
        self._working: list[Working] = []
        self._died: Died | None = None
        self.fates: dict[str, deque[Fate]] = {}
        self.errors: list[BaseException] = []
        self.line = Line(client)
        self._begin()

    def _begin(self) -> None:
        """Start the next worker."""
        self.identity = identity(os.getpid(), chance.token(6))
        self._inflight = InFlight(self._keys, self.identity, self._queues or ("default",))
        page: Any = SimpleNamespace(words=[0] * 16)
        self._ledger = Ledger(self._inflight, page, log.get("jobd.fetcher"))
        self._next = 1
        self._executor = self._made(_Executor)
        self._threads = Threads(cast(Pool, self), self._coroutines)
        self._reports: Reports | None = None
        self.line.ask(self._inflight.register())

    def _made(self, kind: type[E]) -> E:
        """An executor."""
        made = kind(
            self._app,
            self._config,
            self._inflight,
            self._coroutines,
            Deadlines(lambda: None),
            Metrics(),
            Locks(self._client, self._keys),
            StepInputs(self._client, self._keys),
        )
        made.errors = self.errors
        made.is_dead = lambda: self._died is not None
        return made

    def _executor_of(self, job: Claimed) -> Executor:
        """The executor of a job, which knows what will befall its worker."""
        if any(self.fates.values()):
            with suppress(PayloadError):
                if fates := self.fates.get(payload.parse(job.payload).class_):
                    doomed = self._made(_Doomed)
                    doomed.fate, doomed.meet = fates.popleft(), self.meet
                    return doomed
        return self._executor

    # -- one job -----------------------------------------------------------------------------------

    @property
    def running(self) -> Callable[[int], SimpleNamespace | None]:
        """Where the job with a number runs, as :class:`Threads` asks the pool."""

        def find(sequence: int) -> SimpleNamespace | None:
            mine = any(one.job.sequence == sequence for one in self._working)
            return SimpleNamespace(ident=self._ident) if mine else None

        return find

    def work(self) -> bool:
        """Run the next job, if there is one.

        Raises:
            JobdError: a job runs already, and asks for that.
        """
        if self._working:
            raise JobdError("a job of this world cannot run the others: it is run by the world")
        job = self._claim()
        if job is None:
            return False
        self._ledger.add(job)
        self._ident = threading.get_ident()
        self._working = [Working("job-0", job, time.monotonic_ns())]
        end: Settlement | None = None
        try:
            end = Context().run(self._executor_of(job).execute, job)
        except Death:
            pass
        finally:
            self._working = []
        if self._died is not None:
            self._cut_off(0)
        elif end is None:
            self._ledger.done(job)
        else:
            self._ledger.settle(end)
        if self._died is None:
            self._tell()
        return True

    def _claim(self) -> Claimed | None:
        names = self._queues or self._known()
        if not names:
            return None
        call = self._inflight.claim(self._next, 1, [(name, 1) for name in names], limits=True)
        portions = self.line.ask(call)
        if portions is None:  # its lease is lost
            self.line.ask(self._inflight.register())
            portions = self.line.ask(call) or []
        for position, *payloads in portions:
            if position > 0:
                self._next += 1
                return Claimed(self._next - 1, names[position - 1], payloads[0])
        return None

    def _known(self) -> tuple[str, ...]:
        found = self.line.ask(pack("SMEMBERS", self._keys.queues))
        return tuple(sorted(name.decode() for name in found))

    def _tell(self) -> None:
        """Tell Redis how the job has ended."""
        for call, use in self._ledger.calls():
            use(self.line.ask(call))
        if self._reports is not None:
            self._reports.write()
            self._reports = None

    # -- its end -----------------------------------------------------------------------------------

    def meet(self, fate: Fate) -> None:
        """Let the worker die now, in its job."""
        job = self._working[0].job if self._working else None
        if job is None or context.running_job() is None:
            raise JobdError("no job of this world runs here, so no worker can die")
        self._died = Died(self.identity, job, fate.loss)
        if fate.loss != "nothing":
            self._cut_off(threading.get_ident())
        raise Death

    def take_death(self) -> Died | None:
        """The worker that has just died, if one has: the next one starts."""
        died, self._died = self._died, None
        if died is not None:
            if died.loss == "nothing":
                self._ledger.give_back_running()
                self._tell()
                self.line.ask(self._inflight.release())
            self._begin()
        return died

    def close(self) -> None:
        """End its threads, which only coroutines need."""
        self.line.close()
        if (loop := self._loop.running) is not None:
            self._loop.close(10)
            while loop.is_running():
                time.sleep(0.001)
            loop.close()

    # -- what running jobs say ---------------------------------------------------------------------

    def cancel(self, sequences: list[int]) -> bool:
        """Raise JobCancelled in those of these jobs that run; returns whether all do."""
        found = [self._threads.cancel(sequence) for sequence in sequences]
        return all(found)

    def report(self, job: context.CurrentJob) -> None:
        """Write the progress of the running job."""
        if self._reports is None:
            from jobd.testing.simulated_reports import Reports

            self._reports = Reports(
                self._client, self._keys, self.identity, self._config, lambda: self._working
            )
        self._reports.add(job)
        self._reports.write()
