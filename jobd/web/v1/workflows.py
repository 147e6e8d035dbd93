"""Workflows: how far each is, its steps; retry and cancel."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from jobd.api.features.workflow_actions import WORKFLOW_ACTIONS
from jobd.api.features.workflow_shapes import WorkflowStep, WorkflowSummary
from jobd.errors import ConflictError
from jobd.web.http_errors import Conflict, NotFound, said_by
from jobd.web.v1.operations import Body, Call, Query, Table

Id = Annotated[str, Meta(min_length=1, max_length=200, description="Id of the workflow.")]


class WorkflowAndSteps(Struct, kw_only=True, frozen=True):
    """A workflow with its steps."""

    workflow: WorkflowSummary
    steps: list[WorkflowStep]


class WorkflowPage(Query, frozen=True):
    start: Annotated[int, Meta(ge=0)] = 0
    count: Annotated[int, Meta(ge=1, le=1000)] = 100


class OfWorkflow(Query, frozen=True):
    id: Id


class ActOnWorkflow(Body, frozen=True):
    id: Id


class WorkflowChanged(Struct, frozen=True):
    """How many steps were pushed again; 1 for a workflow that is cancelled now."""

    changed: int


OPERATIONS = Table()


@OPERATIONS.add("GET", "/workflows", "Workflows, the newest first.")
def workflows(call: Call, query: WorkflowPage) -> list[WorkflowSummary]:
    return [WorkflowSummary.of(one) for one in call.api.workflows.newest(query.start, query.count)]


@OPERATIONS.add("GET", "/workflow", "One workflow with its steps.", finds=True)
def workflow(call: Call, query: OfWorkflow) -> WorkflowAndSteps:
    try:
        found = call.api.workflows[query.id]
    except KeyError:
        raise _gone() from None
    return WorkflowAndSteps(
        workflow=WorkflowSummary.of(found.summary), steps=list(map(WorkflowStep.of, found.steps))
    )


@OPERATIONS.act("POST", "/workflow/retry", WORKFLOW_ACTIONS["retry"], finds=True)
def retry_workflow(call: Call, body: ActOnWorkflow) -> WorkflowChanged:
    return _act(call, "retry", body.id)


@OPERATIONS.act("POST", "/workflow/cancel", WORKFLOW_ACTIONS["cancel"], finds=True)
def cancel_workflow(call: Call, body: ActOnWorkflow) -> WorkflowChanged:
    return _act(call, "cancel", body.id)


def _act(call: Call, name: str, ref: str) -> WorkflowChanged:
    try:
        return WorkflowChanged(WORKFLOW_ACTIONS[name].do(call.api.workflows, ref))
    except KeyError:
        raise _gone() from None
    except ConflictError as error:
        raise Conflict(said_by(error)) from None


def _gone() -> NotFound:
    return NotFound("there is no such workflow")
