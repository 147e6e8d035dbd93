"""The batches: how far each is; cancelling, closing and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.data.features import batchview
from jobctl.data.words import ago
from jobctl.top.charts import bar
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.view import View
from jobctl.top.views.paged import PAGE, PagedView
from jobctl.top.views.text import TextView, facts
from jobd.api.entry import Api
from jobd.api.features import batch_parts
from jobd.api.features.batch_actions import BATCH_ACTIONS, offered
from jobd.api.reading import Page
from jobd.errors import JobNotFoundError
from jobd.features.batches.record import BatchStatus

T = TypeVar("T")

_BAR = 10

_FAILED = 25
"""Members that have failed which are named."""

_COLOURS = {"abandoned": "yellow", "cancelled": "yellow", "succeeded": "green", "failed": "red"}

_KEYS: list[BindingType] = [
    Binding("X", "batch('cancel')", "Cancel"),
    Binding("C", "batch('close')", "Close"),
    Binding("D", "batch('delete')", "Delete"),
]


class BatchesView(PagedView[BatchStatus]):
    """The page."""

    every: ClassVar[float] = 3.0

    BINDINGS: ClassVar[list[BindingType]] = _KEYS

    def __init__(self, source: Source) -> None:
        columns = [
            Column("BATCH", 12, share=1),
            Column("STATE", 9),
            Column("ENDED", 13, right=True),
            Column("", _BAR, drop=1),
            Column("DEAD", 6, right=True),
            Column("PUSHED", 11, right=True, drop=2),
        ]
        super().__init__(source, "Batches", columns)

    def page(self, api: Api, start: int) -> Page[BatchStatus]:
        found = api.batches.newest(PAGE, start)
        return Page(tuple(found), start, len(api.batches))

    def row(self, one: BatchStatus) -> Row:
        ended = one.total - one.pending
        cells: list[str | tuple[str, str]] = [
            f"{one.description} {one.bid}".strip(),
            (one.state, _COLOURS.get(one.state, "")),
            f"{ended:,}/{one.total:,}",
            bar(ended, one.total, _BAR),
            (f"{one.dead:,}", "red" if one.dead else ""),
            ago(one.created_at),
        ]
        return Row(one.bid, cells, one)

    def details(self, row: Row) -> None:
        self.open(BatchView(self.source, row.subject))

    def action_batch(self, name: str) -> None:
        """Do it to the batch under the cursor."""
        if (row := self.table.current) is not None:
            self.begin(_act(self, name, row.subject))


class BatchLook(NamedTuple):
    """What is read of one batch."""

    status: BatchStatus
    parts: batch_parts.Parts


class BatchView(TextView[BatchLook | None]):
    """One batch.

    Args:
        batch: as it was seen.
    """

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = _KEYS

    def __init__(self, source: Source, batch: BatchStatus) -> None:
        super().__init__(source, f"Batch {batch.bid}")
        self._batch = batch

    def reading(self) -> Callable[[Api], BatchLook | None]:
        bid = self._batch.bid
        return lambda api: _look(api, bid)

    def show(self, found: BatchLook | None) -> None:
        if found is None:
            self.write(Text("It is gone: batches are kept for a day after their end."))
            return
        self._batch = found.status
        self.write(_text(*found))
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "batch" or parameters[0] in _names(self._batch)

    def action_batch(self, name: str) -> None:
        """Do it to this batch."""
        self.begin(_act(self, name, self._batch))


def _names(batch: BatchStatus) -> set[str]:
    return {action.name for action in offered(batch)}


async def _act(view: View[T], name: str, batch: BatchStatus) -> None:
    action, bid = BATCH_ACTIONS[name], batch.bid
    if name not in _names(batch):
        view.complain(f"batch {bid} is {batch.state}: there is nothing to {name}")
        return
    if action.asks and not await view.ask(f"{action.effect} {action.button} {bid}?"):
        return
    if name == "cancel":
        cancelling = await view.source.act(lambda api: api.batches.cancelling(bid))
        count = await view.in_steps(f"{action.button} {bid}", cancelling, 0)
    else:
        count = await view.source.act(lambda api: action.do(api.batches, bid))
    view.say(str(action.done(count, bid)))


def _look(api: Api, bid: str) -> BatchLook | None:
    try:
        one = api.batches.get(bid)
    except JobNotFoundError:
        return None
    return BatchLook(one, batch_parts.parts(api, one, _FAILED))


def _text(one: BatchStatus, parts: batch_parts.Parts) -> Text:
    text = Text()
    text.append(f"{one.state}\n\n", f"bold {_COLOURS.get(one.state, '')}".strip())
    facts(batchview.facts_of(one), text)
    made_of = batchview.parts_of(parts)
    if any(value for _, value in made_of):
        text.append("\n")
        facts(made_of, text)
    return text
