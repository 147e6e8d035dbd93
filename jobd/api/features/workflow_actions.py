"""The actions on workflows: their lines in the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobd.api.actions import Action
from jobd.api.features.workflows import Workflows
from jobd.api.roles import Role
from jobd.features.workflows.record import Summary
from jobd.text.translatable import Text

WorkflowDo = Callable[[Workflows, str], int]

CANCELLING = 10.0
"""Seconds for which a request cancels the jobs of a workflow; a keeper goes on with the rest."""

WORKFLOW_ACTIONS: Mapping[str, Action[WorkflowDo]] = {
    "retry": Action(
        name="retry",
        button=Text("Retry failed steps"),
        summary=Text("Push the steps of a workflow again that have failed."),
        effect=Text("Steps that have failed run again, and then those after them."),
        role=Role.OPERATOR,
        done=lambda count, _: (
            Text.counted("Pushed %(count)s step again.", "Pushed %(count)s steps again.", count)
            if count
            else Text("None of its steps has failed for good: nothing is pushed again.")
        ),
        do=lambda flows, ref: flows.retry(ref),
    ),
    "cancel": Action(
        name="cancel",
        button=Text("Cancel workflow"),
        summary=Text("Cancel a workflow, and undo what is done where its steps say how."),
        effect=Text(
            "No step begins any more. Jobs that wait do not run; those that run are interrupted."
        ),
        role=Role.ADMIN,
        asks=True,
        done=lambda count, flow: (
            Text("Workflow %(flow)s is cancelled.", flow=flow)
            if count
            else Text("Workflow %(flow)s has ended already.", flow=flow)
        ),
        do=lambda flows, ref: int(flows.cancel(ref, seconds=CANCELLING)),
    ),
}
"""On a workflow."""


def offered(one: Summary) -> list[Action[WorkflowDo]]:
    """The actions that make sense in the state of a workflow."""
    if one.cancelled or one.state not in ("running", "failed"):
        return []
    return [
        action
        for name, action in WORKFLOW_ACTIONS.items()
        if one.state == "failed" or name == "cancel"
    ]
