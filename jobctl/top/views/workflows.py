"""The workflows: how far each is, its steps; going on after a failure, and cancelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType

from jobctl.data.features.workflow import urgency
from jobctl.data.words import ago
from jobctl.top.charts import bar
from jobctl.top.finding import show_job
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.view import View
from jobctl.top.views.listing import ListView
from jobctl.top.views.paged import PAGE, PagedView
from jobd.api.entry import Api
from jobd.api.features.workflow_actions import WORKFLOW_ACTIONS, offered
from jobd.api.reading import Page
from jobd.features.workflows.record import StepInfo, Summary, WorkflowInfo

T = TypeVar("T")

_BAR = 10

MOST = 1_000
"""Steps that are shown: first those that have failed or run."""

_COLOURS = {
    "done": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "yellow",
    "blocked": "yellow",
}

_KEYS: list[BindingType] = [
    Binding("R", "workflow('retry')", "Retry"),
    Binding("X", "workflow('cancel')", "Cancel"),
]


class WorkflowsView(PagedView[Summary]):
    """The page."""

    every: ClassVar[float] = 3.0

    BINDINGS: ClassVar[list[BindingType]] = _KEYS

    def __init__(self, source: Source) -> None:
        columns = [
            Column("WORKFLOW", 12, share=1),
            Column("STATE", 9),
            Column("DONE", 13, right=True),
            Column("", _BAR, drop=1),
            Column("FAILED", 6, right=True),
            Column("PUSHED", 11, right=True, drop=2),
        ]
        super().__init__(source, "Workflows", columns)

    def page(self, api: Api, start: int) -> Page[Summary]:
        found = api.workflows.newest(start, PAGE)
        return Page(tuple(found), start, len(api.workflows))

    def row(self, one: Summary) -> Row:
        bad = one.failed + one.passed
        cells: list[str | tuple[str, str]] = [
            f"{one.name} {one.id}".strip(),
            (one.state, _COLOURS.get(one.state, "")),
            f"{one.done:,}/{one.size:,}",
            bar(one.done, one.size, _BAR),
            (f"{bad:,}", "red" if bad else ""),
            ago(one.created_at),
        ]
        return Row(one.id, cells, one)

    def details(self, row: Row) -> None:
        self.open(WorkflowView(self.source, row.subject))

    def action_workflow(self, name: str) -> None:
        """Do it to the workflow under the cursor."""
        if (row := self.table.current) is not None:
            self.begin(_act(self, name, row.subject))


class WorkflowView(ListView[WorkflowInfo | None]):
    """The steps of one workflow.

    Args:
        workflow: as it was seen.
    """

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = _KEYS

    def __init__(self, source: Source, workflow: Summary) -> None:
        columns = [
            Column("#", 5, right=True, drop=1),
            Column("STATE", 9),
            Column("NAME", 10, share=1, drop=3),
            Column("JOB", 16, share=2),
            Column("ERROR", 12, share=3, drop=2),
        ]
        super().__init__(source, f"Workflow {workflow.name or workflow.id}", columns)
        self._workflow = workflow

    def reading(self) -> Callable[[Api], WorkflowInfo | None]:
        ref = self._workflow.id
        return lambda api: _look(api, ref)

    def show(self, found: WorkflowInfo | None) -> None:
        if found is not None:
            self._workflow = found.summary
        super().show(found)
        self.refresh_bindings()

    def head(self, found: WorkflowInfo | None) -> str:
        if found is None:
            return f"{self.title} is gone: workflows are kept for a day after their end"
        one = found.summary
        by = {"step": " by a step that has failed", "user": " by a user"}.get(one.cancelled, "")
        return f"{self.title}: {one.state}{by}, {one.done:,} of {one.size:,} steps done"

    def rows(self, found: WorkflowInfo | None) -> list[Row]:
        steps = [] if found is None else [one for one in found.steps if one.job]
        return [_step(one) for one in sorted(steps, key=urgency)[:MOST]]

    def details(self, row: Row) -> None:
        if jid := row.subject.jid:
            self.begin(show_job(self, jid))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "workflow":
            return parameters[0] in _names(self._workflow)
        return super().check_action(action, parameters)

    def action_workflow(self, name: str) -> None:
        """Do it to this workflow."""
        self.begin(_act(self, name, self._workflow))


def _names(workflow: Summary) -> set[str]:
    return {action.name for action in offered(workflow)}


async def _act(view: View[T], name: str, workflow: Summary) -> None:
    action, ref = WORKFLOW_ACTIONS[name], workflow.id
    if name not in _names(workflow):
        view.complain(f"workflow {ref} is {workflow.state}: there is nothing to {name}")
        return
    if action.asks and not await view.ask(f"{action.effect} {action.button} {ref}?"):
        return
    try:
        if name != "cancel":
            count = await view.source.act(lambda api: action.do(api.workflows, ref))
        else:
            steps = await view.source.act(lambda api: api.workflows.cancelling(ref))
            count = int(steps is not None)
            if steps is not None:
                await view.in_steps(f"{action.button} {ref}", steps, 0)
    except KeyError:
        view.complain(f"workflow {ref} is gone")
        return
    view.say(str(action.done(count, ref)))


def _look(api: Api, ref: str) -> WorkflowInfo | None:
    try:
        return api.workflows[ref]
    except KeyError:
        return None


def _step(one: StepInfo) -> Row:
    cells: list[str | tuple[str, str]] = [
        str(one.number),
        (one.state, _COLOURS.get(one.state, "")),
        one.label,
        one.job,
        (one.error.partition("\n")[0], "red"),
    ]
    return Row(str(one.number), cells, one)
