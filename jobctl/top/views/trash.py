"""The trash: what was deleted or killed in the last day, the way back, and deleting for good."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.data import jobview
from jobctl.data.steps import Emptying
from jobctl.data.words import ago, arguments, name_of
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.undoing import restore
from jobctl.top.views.paged import PAGE, PagedView
from jobctl.top.views.text import TextView, facts
from jobd.api.actions import DELETION_ACTIONS, EMPTY_TRASH
from jobd.api.entry import Api
from jobd.api.reading import Page
from jobd.api.records import JobRecord
from jobd.api.trash import Deletion
from jobd.text.counting import counted

_ARGUMENTS = 120


class TrashView(PagedView[Deletion]):
    """The page."""

    every: ClassVar[float] = 3.0

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "deletion('restore')", "Restore"),
        Binding("D", "deletion('purge')", "Delete for good"),
        Binding("E", "empty", "Empty"),
    ]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("WHEN", 11),
            Column("WHO", 10, share=1),
            Column("ACTION", 7),
            Column("FROM", 12, share=2),
            Column("JOBS", 9, right=True),
            Column("LEFT", 8, right=True, drop=1),
        ]
        super().__init__(source, "Trash", columns)

    def page(self, api: Api, start: int) -> Page[Deletion]:
        return api.trash.page(start, PAGE)

    def row(self, one: Deletion) -> Row:
        cells = [
            ago(one.at),
            one.who,
            one.action,
            jobview.where(one.origin),
            f"{one.jobs:,}",
            ago(one.until).removeprefix("in "),
        ]
        return Row(one.ref, cells, one)

    def details(self, row: Row) -> None:
        self.open(DeletionView(self.source, row.subject))

    def action_deletion(self, name: str) -> None:
        """Do it to the deletion under the cursor."""
        if (row := self.table.current) is not None:
            one: Deletion = row.subject
            self.begin(restore(self, one) if name == "restore" else self._purge(one))

    async def _purge(self, one: Deletion) -> None:
        action = DELETION_ACTIONS["purge"]
        if await self.ask(f"{action.effect} {action.button} {counted(one.jobs, 'job')}?"):
            changed = await self.source.act(lambda _: action.do(one, None))
            self.say(str(action.done(changed, one.went_to)))

    def action_empty(self) -> None:
        self.begin(self._empty())

    async def _empty(self) -> None:
        effect, action = DELETION_ACTIONS["purge"].effect, EMPTY_TRASH
        if await self.ask(f"{effect} {action.button}?"):
            changed = await self.in_steps(str(action.button), Emptying(self.source.api), 0)
            self.say(str(action.done(changed, "")))


class DeletionView(PagedView[JobRecord]):
    """The jobs of one deletion.

    Args:
        deletion: whose jobs they are.
    """

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = [Binding("R", "restore", "Restore")]

    def __init__(self, source: Source, deletion: Deletion) -> None:
        columns = [
            Column("CLASS", 18, share=2),
            Column("ARGUMENTS", 12, share=3),
            Column("JID", 24, drop=1),
        ]
        title = f"{deletion.action} of {jobview.where(deletion.origin)} by {deletion.who}"
        super().__init__(source, title, columns)
        self._deletion = deletion

    def page(self, api: Api, start: int) -> Page[JobRecord]:  # noqa: ARG002 - as for all lists
        return self._deletion.page(start, PAGE)

    def row(self, one: JobRecord) -> Row:
        return Row(one.digest, [name_of(one), arguments(one, _ARGUMENTS), one.jid], one)

    def details(self, row: Row) -> None:
        self.open(TrashedJobView(self.source, row.subject))

    def action_restore(self) -> None:
        self.begin(restore(self, self._deletion))


class TrashedJobView(TextView[None]):
    """A job of a deletion, as it was.

    Args:
        job: which one.
    """

    def __init__(self, source: Source, job: JobRecord) -> None:
        super().__init__(source, f"Job {job.jid[:60]} in the trash")
        self._job = job

    def on_mount(self) -> None:
        text = Text()
        facts(jobview.facts_of(self._job, "trash"), text)
        self.write(text)
