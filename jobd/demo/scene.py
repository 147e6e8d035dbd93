"""What there is to see at one moment of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from jobd import api


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job, or to a process of the daemon."""

    time: str
    who: str
    text: str
    level: str


@dataclass(frozen=True, slots=True)
class Worker:
    """One child of the master at this moment."""

    role: str
    pid: int
    state: str
    busy: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that there is to see at one moment."""

    stats: api.Stats
    pushed: int
    pushing: bool
    workers: list[Worker]
    events: list[Event]
    daemon_ended: bool

    @property
    def done(self) -> int:
        """Executions that ended well."""
        return self.stats.processed - self.stats.failed

    @property
    def waiting(self) -> int:
        """Jobs that have not come to an end."""
        stats = self.stats
        return stats.enqueued + stats.scheduled_size + stats.retry_size + stats.in_flight

    @property
    def lost(self) -> int:
        """Jobs that have vanished. Below zero, a job of a killed worker has run twice."""
        return self.pushed - self.done - self.stats.dead_size - self.waiting

    @property
    def settled(self) -> bool:
        """No job is pushed any more, and none is on its way."""
        return not self.pushing and self.waiting == 0

    def summary(self) -> str:
        """All numbers in one line."""
        stats = self.stats
        return (
            f"pushed {self.pushed}  done {self.done}  failed {stats.failed}  "
            f"queued {stats.enqueued}  running {stats.in_flight}  retry {stats.retry_size}  "
            f"scheduled {stats.scheduled_size}  dead {stats.dead_size}"
        )
