"""The actions on batches: their lines in the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobd.api.actions import Action
from jobd.api.features.batches import Batches
from jobd.api.roles import Role
from jobd.features.batches.record import BatchStatus
from jobd.text.translatable import Text

BatchDo = Callable[[Batches, str], int]


def _cancelled(count: int, batch: str) -> Text:
    return Text.counted(
        "Batch %(batch)s is cancelled: %(count)s job was taken out or told.",
        "Batch %(batch)s is cancelled: %(count)s jobs were taken out or told.",
        count,
        batch=batch,
    )


def _closed(count: int, batch: str) -> Text:
    return Text.counted(
        "Closed %(count)s block of batch %(batch)s.",
        "Closed %(count)s blocks of batch %(batch)s.",
        count,
        batch=batch,
    )


BATCH_ACTIONS: Mapping[str, Action[BatchDo]] = {
    "cancel": Action(
        name="cancel",
        button=Text("Cancel batch"),
        summary=Text("Cancel a batch: take out jobs that wait, tell those that run."),
        effect=Text(
            "Nothing can be added any more. Jobs that wait do not run; those that run are "
            "interrupted. The same goes for batches inside it. Callbacks are pushed as for any "
            "jobs that were dropped."
        ),
        role=Role.ADMIN,
        asks=True,
        done=_cancelled,
        do=lambda batches, bid: batches.cancel(bid),
    ),
    "close": Action(
        name="close",
        button=Text("Close batch"),
        summary=Text("End the open blocks of a batch, because their producers have died."),
        effect=Text("Its callbacks are pushed when the jobs that it has now have ended."),
        role=Role.OPERATOR,
        done=_closed,
        do=lambda batches, bid: batches.close(bid),
    ),
    "delete": Action(
        name="delete",
        button=Text("Delete batch"),
        summary=Text("Forget a batch and its callbacks; its jobs become ordinary ones."),
        effect=Text("Its callbacks are never pushed. Its jobs run as ordinary ones."),
        role=Role.ADMIN,
        asks=True,
        done=lambda count, batch: (
            Text("Batch %(batch)s is deleted.", batch=batch)
            if count
            else Text("Batch %(batch)s was gone already.", batch=batch)
        ),
        do=lambda batches, bid: int(batches.delete(bid)),
    ),
}
"""On a batch."""


def offered(one: BatchStatus) -> list[Action[BatchDo]]:
    """The actions that make sense in the state of a batch."""
    wanted = {
        "cancel": one.success_at is None and (one.cancelled_at is None or one.pending > 0),
        "close": one.open > 0,
        "delete": True,
    }
    return [action for name, action in BATCH_ACTIONS.items() if wanted[name]]
