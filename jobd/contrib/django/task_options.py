"""``OPTIONS`` of the backend for ``django.tasks``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.tasks.base import TASK_MAX_PRIORITY, TASK_MIN_PRIORITY

from jobd.contrib.django.options import Kind, Problem, switch, valid
from jobd.errors import ArgumentError
from jobd.wire.options import check_queue


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What they say; the names there are in capitals.

    Attributes:
        result_ttl: seconds that results are kept after the end.
        retry: as for jobs.
        on_commit: whether tasks wait for the commit; None: as ``JOBD`` says for all pushes.
        priority_queues: for each queue, the least and the largest priority of tasks that go there.
    """

    result_ttl: float = 86400
    retry: bool | int = 25
    on_commit: bool | None = None
    priority_queues: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def queue_for(self, priority: int) -> str | None:
        """The queue to which tasks with this priority go; None if it has none."""
        for queue, (least, most) in self.priority_queues.items():
            if least <= priority <= most:
                return queue
        return None


def _seconds(value: object) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if number and 0 < float(str(value)) < math.inf else "seconds, more than 0"


def _retry(value: object) -> str | None:
    fits = isinstance(value, int) and value >= 0
    return None if fits else "True, False or a number of at least 0"


def _ranges(value: object) -> str | None:
    if isinstance(value, Mapping) and all(map(_queue, value)) and all(map(_range, value.values())):
        return None
    limits = f"between {TASK_MIN_PRIORITY} and {TASK_MAX_PRIORITY}"
    return f'priorities {limits} for names of queues, like {{"urgent": (50, 100)}}'


def _queue(name: object) -> bool:
    try:
        check_queue(name)
    except ArgumentError:
        return False
    return True


def _range(value: object) -> bool:
    if not isinstance(value, list | tuple) or [*map(type, value)] != [int, int]:
        return False
    least, most = value
    return bool(TASK_MIN_PRIORITY <= least <= most <= TASK_MAX_PRIORITY)


_KINDS: Mapping[str, Kind] = {
    "RESULT_TTL": _seconds,
    "RETRY": _retry,
    "ON_COMMIT": switch,
    "PRIORITY_QUEUES": _ranges,
}


def task_options_of(alias: str, given: Mapping[str, object]) -> tuple[TaskOptions, list[Problem]]:
    """The options of the backend called *alias*, with the defaults where they are wrong."""
    values, problems = valid(f"TASKS[{alias!r}]['OPTIONS']", _KINDS, given)
    return TaskOptions(**values), problems
