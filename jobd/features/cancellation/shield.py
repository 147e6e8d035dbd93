"""``jobd.shield``: code inside a job that must not be cut by a cancellation."""

from __future__ import annotations

from types import TracebackType

from jobd.ambient.block import Enterable
from jobd.jobs.cancellation import Cancellation, cancellation_of
from jobd.jobs.context import running_job


class shield(Enterable):
    """A block of a job that is not interrupted when the job is cancelled.

    :class:`~jobd.JobCancelled` is raised when the block is left instead, also where it ends with a
    ``return``. Blocks can be nested. Time limits and the stop of a worker are not deferred. Outside
    a job it does nothing.

    Example:
        >>> with shield():
        ...     pass  # charge the card, and write down that it has been charged
    """

    def __init__(self) -> None:
        self._cancellation: Cancellation | None = None

    def __enter__(self) -> None:
        self.entered = True
        job = running_job()
        if job is not None:
            self._cancellation = cancellation_of(job)
            self._cancellation.raise_shield()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._cancellation is not None:
            self._cancellation.lower_shield()

    def __repr__(self) -> str:
        return "jobd.shield()"
