"""The state of the demo at a moment."""

from __future__ import annotations

from dataclasses import dataclass

from jobd import api


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a job or of a process of the daemon."""

    time: str
    who: str
    text: str
    level: str


@dataclass(frozen=True, slots=True)
class Worker:
    """The state of a child of the master."""

    role: str
    pid: int
    state: str
    busy: int


@dataclass(frozen=True, slots=True)
class Scene:
    """The state of the demo.

    Its numbers are read one after the other: a job that goes from one place to another meanwhile
    may be in none of them.
    """

    stats: api.Stats
    pushed: int
    pushing: bool
    workers: list[Worker]
    events: list[Event]
    daemon_ended: bool

    @property
    def done(self) -> int:
        """Number of successful executions."""
        return self.stats.processed - self.stats.failed

    @property
    def waiting(self) -> int:
        """Number of unfinished jobs."""
        stats = self.stats
        return stats.enqueued + stats.scheduled_size + stats.retry_size + stats.in_flight

    @property
    def lost(self) -> int:
        """Number of lost jobs. Negative if a job of a killed worker has run twice."""
        return self.pushed - self.done - self.stats.dead_size - self.waiting

    def settled(self, before: Scene | None) -> bool:
        """Whether no more jobs are pushed and all have finished: nothing waits, and nothing has
        moved since the look *before* this one."""
        return (
            not self.pushing
            and self.waiting == 0
            and before is not None
            and self.summary() == before.summary()
        )

    def summary(self) -> str:
        """All numbers in one line."""
        stats = self.stats
        return (
            f"pushed {self.pushed}  done {self.done}  failed {stats.failed}  "
            f"queued {stats.enqueued}  running {stats.in_flight}  retry {stats.retry_size}  "
            f"scheduled {stats.scheduled_size}  dead {stats.dead_size}"
        )
