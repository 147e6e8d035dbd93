"""The batches: how far each is; cancelling, closing and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.data.words import ago, moment
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


@dataclass(frozen=True, slots=True)
class BatchLook:
    """What is read of one batch; *status* is None if it is gone."""

    status: BatchStatus | None
    inner: batch_parts.Nested
    callbacks: list[batch_parts.Callback]
    failed: list[batch_parts.Failed]


class BatchView(TextView[BatchLook]):
    """One batch.

    Args:
        batch: as it was seen.
    """

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = _KEYS

    def __init__(self, source: Source, batch: BatchStatus) -> None:
        super().__init__(source, f"Batch {batch.bid}")
        self._batch = batch

    def reading(self) -> Callable[[Api], BatchLook]:
        bid = self._batch.bid
        return lambda api: _look(api, bid)

    def show(self, found: BatchLook) -> None:
        if found.status is None:
            self.write(Text("It is gone: batches are kept for a day after their end."))
            return
        self._batch = found.status
        self.write(_text(found.status, found))
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
        count = await view.source.act(lambda api: action.do(api.batches, bid, None))
    view.say(str(action.done(count, bid)))


def _look(api: Api, bid: str) -> BatchLook:
    try:
        one = api.batches.get(bid)
    except JobNotFoundError:
        return BatchLook(None, batch_parts.Nested([], True), [], [])
    bad = batch_parts.failed(api, bid, _FAILED) if one.failed or one.dead else []
    return BatchLook(one, batch_parts.nested(api, one), batch_parts.callbacks(api, bid), bad)


def _text(one: BatchStatus, found: BatchLook) -> Text:
    text = Text()
    text.append(f"{one.state}\n\n", f"bold {_COLOURS.get(one.state, '')}".strip())
    counts = {name: getattr(one, name) for name in ("done", "dead", "expired", "cancelled")}
    counts["unconfirmed"] = one.unconfirmed
    ended = f"{one.total - one.pending:,} of {one.total:,} ({one.progress:.0%})"
    pairs = [
        ("batch", one.description),
        ("tags", ", ".join(one.tags)),
        ("jobs", f"{ended} have ended"),
        ("of them", ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)),
        ("failed", f"{one.failed:,} at least once" if one.failed else ""),
        ("open", f"{one.open:,} blocks add to it" if one.open else ""),
        ("in batch", one.parent),
        ("pushed", moment(one.created_at)),
        ("cancelled", moment(one.cancelled_at)),
        ("abandoned", moment(one.abandoned_at)),
        ("ended", moment(one.ended_at)),
    ]
    facts(pairs, text)
    parts = [
        *(
            (f"on {each.event}", f"{each.name or each.jid}{', pushed' if each.pushed else ''}")
            for each in found.callbacks
        ),
        *(
            ("inside", f"{each.bid} {each.state} {each.description}")
            for each in found.inner.batches
        ),
        ("", "" if found.inner.all else "there may be more batches inside it"),
        *((each.state, each.jid) for each in found.failed),
    ]
    if any(value for _, value in parts):
        text.append("\n")
        facts(parts, text)
    return text
