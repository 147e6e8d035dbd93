"""A callback of a batch: a job that is made ready now, and pushed by the script that ends the
batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jobd.errors import ArgumentError
from jobd.features.batches.held import no_workflows
from jobd.jobs.client import Client
from jobd.jobs.job_class import Job
from jobd.jobs.membership import membership
from jobd.jobs.pushable import Pushable
from jobd.wire import attachments
from jobd.wire.attachments import AttachedPush
from jobd.wire.batches import Event, callback_jid
from jobd.wire.payload import Payload
from jobd.wire.transitions import without_enqueued

if TYPE_CHECKING:
    from jobd.graphs.plan import Plan
    from jobd.jobs.transports import AsyncTransport, Source, Transport
    from jobd.store.conflict import Conflict

AnyJob = Pushable[..., object] | type[Job] | str
"""A job, or the name that it has in the payload."""


def ready(
    client: Client,
    callback: Capture,
    job: AnyJob,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> bytes:
    """The payload of a callback, without the time of its push.

    Raises:
        ArgumentError: *job* is none, its arguments do not fit, or it cannot be a callback.
    """
    pushable = job._pushable if isinstance(job, type) and issubclass(job, Job) else job
    with membership.inside(callback):
        if isinstance(pushable, str):
            client.push({"class": pushable, "args": list(args), "kwargs": kwargs})
        elif isinstance(pushable, Pushable):
            pushable.through(_nothing).perform_async(*args, **kwargs)
        else:
            raise ArgumentError(
                f"{job!r} is not a job: give a function with @job, a subclass of Job with perform, "
                "or the name of a job"
            )
    if callback.raw is None:
        raise ArgumentError(f"client middleware has stopped the push of the callback {job!r}")
    return callback.raw


class _Nothing:
    """Takes the place of what holds pushes back: a callback is not pushed now."""

    def transport(self, inner: Transport) -> Transport:
        return inner

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:
        return inner


_nothing = _Nothing()


class Capture:
    """What a callback is pushed into: takes its payload.

    Args:
        number: tells it apart from others of the event.
        parent: the batch around this one, and the number of the callback there.
        queue: instead of the job's own.
    """

    def __init__(
        self,
        client: Client,
        bid: str,
        event: Event,
        number: int,
        parent: tuple[str, int] | None,
        queue: str | None,
    ) -> None:
        self._client = client
        self._bid = bid
        self._event = event
        self.jid = callback_jid(bid, event, number)
        self._parent = parent
        self._queue = queue
        self.raw: bytes | None = None
        self.over = False

    def admit(self, client: Source) -> None:
        if (client.url, client.prefix) != (self._client.url, self._client.prefix):
            raise ArgumentError(
                f"batch {self._bid} is in another Redis than its callback; create it with the "
                "client of the job's application: Batch(client=app.client)"
            )

    async def aroom(self) -> None:
        raise AssertionError("callbacks are made ready in one go")

    def join(self, made: Payload) -> None:
        made["jid"] = self.jid
        if self._queue is not None:
            made["queue"] = self._queue
        changes: dict[str, object] = {"callback": (self._bid, self._event)}
        if self._parent is not None:
            changes["batch"] = self._parent
        attachments.add(made, **changes)
        if attachments.read(made[attachments.FIELD]).expires_at is not None:
            raise ArgumentError(f"{made['class']}: a callback of a batch cannot have expires_in")

    def transport(self, _inner: Transport) -> Capture:
        return self

    def atransport(self, _inner: AsyncTransport) -> AsyncTransport:
        raise AssertionError("callbacks are made ready in one go")

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        [[raw]] = queues.values()
        self.raw = without_enqueued(raw)

    def schedule(self, _due: list[tuple[float, bytes]]) -> None:
        raise ArgumentError("a callback of a batch runs when its event happens, not at a time")

    def push(self, jobs: Sequence[AttachedPush], _now: float) -> list[Conflict | None]:
        [job] = jobs
        if job.pushed.lock is not None:
            raise ArgumentError("a callback of a batch is pushed once, and cannot be unique")
        self.raw = job.raw
        return [None]

    def start(self, _plan: Plan) -> None:
        raise no_workflows()

    def holder(self, _key: str) -> str | None:
        return None
