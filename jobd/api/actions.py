"""The table of actions: what can be done to jobs, queues, processes and deletions.

Each action is written once, here: its name, who may do it, what people are told before and after
it, and the call of the data API. The pages of the dashboard and ``/api/v1`` are made from this
table, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from jobd.api.features.cancellation import Answer, cancel
from jobd.api.processes import Process, ProcessSet
from jobd.api.queues.queues import Queue
from jobd.api.records import JobRecord
from jobd.api.roles import Role
from jobd.api.session import Session
from jobd.api.sets.entries import SortedEntry, SortedSet
from jobd.api.trash import Deletion, Trash
from jobd.errors import ArgumentError
from jobd.jobs.times import When
from jobd.text.translatable import Text


class Given(NamedTuple):
    """What an action may ask for in addition to its target.

    Attributes:
        when: the new time, for ``reschedule``.
        queue: the other queue, for ``move``.
        line: when a periodic job is due, for ``set``.
        tz: the time zone of that; None for the one it has.
    """

    when: When | None = None
    queue: str = ""
    line: str = ""
    tz: str | None = None


NOTHING = Given()

Do_co = TypeVar("Do_co", bound=Callable[..., object], covariant=True)

SetDo = Callable[[SortedSet, Sequence[SortedEntry], Given], int]
QueuedDo = Callable[[Queue, Sequence[JobRecord], Given], int]
QueueDo = Callable[[Queue, Given], int]
ProcessDo = Callable[[ProcessSet, Process | None], int]

DeletionDo = Callable[[Deletion, float | None], int]
TrashDo = Callable[[Trash, float | None], int]
JobDo = Callable[[Session, str, str | None, bool], Answer]

Done = Callable[[int, str], Text]


_NO_TEXT = Text("")


def _nothing(_count: int, _where: str) -> Text:
    return _NO_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(Generic[Do_co]):
    """One action on one kind of target.

    Attributes:
        name: unique for its kind of target.
        button: the text of its button.
        summary: what it does, for lists of commands and of operations.
        effect: what happens to the target, for the question before it; empty where none is asked.
        role: the lowest role that may do it.
        asks: whether it is confirmed first, even for one job.
        undoable: whether the trash keeps what it takes away.
        form: the field of :class:`Given` that it needs, if any.
        done: the message afterwards, for a number of jobs or processes; some of them name the queue
            or the one process that they are told, or look at where the jobs went to.
        do: the call of the data API; returns how many were there.
    """

    name: str
    button: Text
    summary: Text
    role: Role
    effect: Text = _NO_TEXT
    asks: bool = False
    undoable: bool = False
    form: Literal["", "when", "queue", "line"] = ""
    done: Done = _nothing
    do: Do_co


def _queued(count: int, _: str) -> Text:
    return Text.counted(
        "Put into their queues: %(count)s job.", "Put into their queues: %(count)s jobs.", count
    )


def _rescheduled(count: int, _: str) -> Text:
    return Text.counted("Rescheduled %(count)s job.", "Rescheduled %(count)s jobs.", count)


def _killed(count: int, _: str) -> Text:
    return Text.counted("Killed %(count)s job.", "Killed %(count)s jobs.", count)


def _deleted(count: int, queue: str) -> Text:
    if queue:
        return Text.counted(
            "Deleted %(count)s job of queue %(queue)s.",
            "Deleted %(count)s jobs of queue %(queue)s.",
            count,
            queue=queue,
        )
    return Text.counted("Deleted %(count)s job.", "Deleted %(count)s jobs.", count)


def _moved(count: int, target: str) -> Text:
    return Text.counted(
        "Moved %(count)s job to queue %(queue)s.",
        "Moved %(count)s jobs to queue %(queue)s.",
        count,
        queue=target,
    )


def _reschedule(jobs: SortedSet, entries: Sequence[SortedEntry], given: Given) -> int:
    if given.when is None:
        raise ArgumentError("rescheduling needs a time")
    return jobs.reschedule(given.when, *entries)


SET_ACTIONS: Mapping[str, Action[SetDo]] = {
    "retry": Action(
        name="retry",
        button=Text("Retry now"),
        summary=Text("Put jobs into their queues now."),
        effect=Text("Jobs run as soon as a worker is free, without using up a retry."),
        role=Role.OPERATOR,
        done=_queued,
        do=lambda jobs, entries, _: jobs.retry(*entries),
    ),
    "add_to_queue": Action(
        name="add_to_queue",
        button=Text("Add to queue"),
        summary=Text("Put jobs into their queues now."),
        effect=Text("Jobs run as soon as a worker is free."),
        role=Role.OPERATOR,
        done=_queued,
        do=lambda jobs, entries, _: jobs.add_to_queue(*entries),
    ),
    "reschedule": Action(
        name="reschedule",
        button=Text("Reschedule"),
        summary=Text("Give jobs another time."),
        effect=Text("Jobs wait until the time that you give."),
        role=Role.OPERATOR,
        asks=True,
        form="when",
        done=_rescheduled,
        do=_reschedule,
    ),
    "kill": Action(
        name="kill",
        button=Text("Kill"),
        summary=Text("Move jobs to the dead set."),
        effect=Text("Killed jobs go to the dead set and are not tried again."),
        role=Role.ADMIN,
        asks=True,
        undoable=True,
        done=_killed,
        do=lambda jobs, entries, _: jobs.kill(*entries),
    ),
    "delete": Action(
        name="delete",
        button=Text("Delete"),
        summary=Text("Delete jobs."),
        effect=Text("Deleted jobs do not run."),
        role=Role.ADMIN,
        asks=True,
        undoable=True,
        done=_deleted,
        do=lambda jobs, entries, _: jobs.delete(*entries),
    ),
}
"""On jobs of the retries, the schedule and the dead."""

JOB_ACTIONS: Mapping[str, Action[JobDo]] = {
    "cancel": Action(
        name="cancel",
        button=Text("Cancel job"),
        summary=Text("Cancel a job, whether it waits or runs."),
        effect=Text(
            "A running job is interrupted, and not tried again. One that waits does not run."
        ),
        role=Role.ADMIN,
        asks=True,
        do=lambda api, jid, queue, force: cancel(jid, queue, force=force, api=api),
    ),
}
"""On a job wherever it is, by its id; it is looked for in one queue, or in all."""

CANCEL_ANSWERS: Mapping[Answer, Text] = {
    "cancelled": Text("%(job)s is cancelled."),
    "cancelling": Text("%(job)s is being cancelled."),
    "unknown": Text(
        "%(job)s is nowhere: it is done, was deleted, or was never pushed; or a Sidekiq runs it, "
        "where jobd cannot cancel it."
    ),
}
"""The message after it."""

QUEUED_ACTIONS: Mapping[str, Action[QueuedDo]] = {
    "move": Action(
        name="move",
        button=Text("Move"),
        summary=Text("Move a job to the end of another queue."),
        effect=Text("Moved jobs run after those that wait in that queue."),
        role=Role.OPERATOR,
        form="queue",
        done=_moved,
        do=lambda queue, jobs, given: queue.move(given.queue, *jobs),
    ),
    "delete": Action(
        name="delete",
        button=Text("Delete"),
        summary=Text("Delete a job of a queue."),
        effect=Text("Deleted jobs do not run."),
        role=Role.ADMIN,
        asks=True,
        undoable=True,
        done=_deleted,
        do=lambda queue, jobs, _: queue.delete(*jobs),
    ),
}
"""On jobs that wait in a queue."""

QUEUE_ACTIONS: Mapping[str, Action[QueueDo]] = {
    "pause": Action(
        name="pause",
        button=Text("Pause"),
        summary=Text("Let no worker of jobd or Sidekiq Pro take jobs from a queue."),
        role=Role.OPERATOR,
        done=lambda _, queue: Text(
            "Queue %(queue)s is paused: no worker takes jobs from it.", queue=queue
        ),
        do=lambda queue, _: queue.pause(),
    ),
    "resume": Action(
        name="resume",
        button=Text("Resume"),
        summary=Text("Let workers take jobs again."),
        role=Role.OPERATOR,
        done=lambda _, queue: Text("Queue %(queue)s is no longer paused.", queue=queue),
        do=lambda queue, _: queue.unpause(),
    ),
    "move": Action(
        name="move",
        button=Text("Move"),
        summary=Text("Move all jobs to the end of another queue."),
        effect=Text("Moved jobs run after those that wait in that queue."),
        role=Role.OPERATOR,
        form="queue",
        done=_moved,
        do=lambda queue, given: queue.move_all(given.queue),
    ),
    "clear": Action(
        name="clear",
        button=Text("Clear"),
        summary=Text("Delete all jobs of a queue."),
        effect=Text("Deleted jobs do not run."),
        role=Role.ADMIN,
        asks=True,
        undoable=True,
        done=_deleted,
        do=lambda queue, _: queue.clear(),
    ),
}
"""On a queue."""


def _ended(process: str) -> Text:
    return Text("%(process)s has ended.", process=process)


def _quieted(count: int, one: str) -> Text:
    if one and not count:
        return _ended(one)
    if one:
        return Text("%(process)s has been told to take no new jobs.", process=one)
    return Text.counted(
        "%(count)s process has been told to take no new jobs.",
        "%(count)s processes have been told to take no new jobs.",
        count,
    )


def _stopped(count: int, one: str) -> Text:
    if one and not count:
        return _ended(one)
    if one:
        return Text(
            "%(process)s has been told to stop. It stops when its jobs end or its timeout expires.",
            process=one,
        )
    return Text.counted(
        "%(count)s process has been told to stop.",
        "%(count)s processes have been told to stop.",
        count,
    )


PROCESS_ACTIONS: Mapping[str, Action[ProcessDo]] = {
    "quiet": Action(
        name="quiet",
        button=Text("Quiet"),
        summary=Text("Make a process take no more jobs."),
        effect=Text(
            "Running jobs finish; no new ones are taken, so queues grow. This cannot be undone "
            "from here."
        ),
        role=Role.OPERATOR,
        asks=True,
        done=_quieted,
        do=lambda processes, one: one.quiet() if one else processes.quiet_all(),
    ),
    "stop": Action(
        name="stop",
        button=Text("Stop"),
        summary=Text("Make a process stop."),
        effect=Text(
            "Running jobs have until its timeout to finish; those that do not go back to their "
            "queues."
        ),
        role=Role.ADMIN,
        asks=True,
        done=_stopped,
        do=lambda processes, one: one.stop() if one else processes.stop_all(),
    ),
    "dump": Action(
        name="dump",
        button=Text("Stacks"),
        summary=Text("Make a process write its stacks."),
        role=Role.OPERATOR,
        do=lambda processes, one: one.dump_threads() if one else processes.dump_threads_all(),
    ),
}
"""On one process, or on all of them."""


def _restored(count: int, _: str) -> Text:
    return Text.counted("Restored %(count)s job.", "Restored %(count)s jobs.", count)


def _purged(count: int, went_to: str) -> Text:
    if went_to:
        return Text.counted(
            "%(count)s job stays where it is now, and cannot be put back any more.",
            "%(count)s jobs stay where they are now, and cannot be put back any more.",
            count,
        )
    return Text.counted(
        "Deleted %(count)s job for good.", "Deleted %(count)s jobs for good.", count
    )


DELETION_ACTIONS: Mapping[str, Action[DeletionDo]] = {
    "restore": Action(
        name="restore",
        button=Text("Restore"),
        summary=Text("Undo a deletion."),
        role=Role.ADMIN,
        done=_restored,
        do=lambda deletion, seconds: deletion.restore(seconds),
    ),
    "purge": Action(
        name="purge",
        button=Text("Delete for good"),
        summary=Text("Make a deletion final."),
        effect=Text("They cannot be restored afterwards."),
        role=Role.ADMIN,
        asks=True,
        done=_purged,
        do=lambda deletion, _: deletion.purge(),
    ),
}
"""On what is in the trash; in steps that end after some seconds."""

EMPTY_TRASH: Action[TrashDo] = Action(
    name="empty",
    button=Text("Empty the trash"),
    summary=Text("Make all deletions final."),
    role=Role.ADMIN,
    asks=True,
    done=_purged,
    do=lambda trash, seconds: trash.empty(seconds),
)
