"""The failed jobs grouped by what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType

from jobctl.data.filters import Filters
from jobctl.data.sets import SETS, Set
from jobctl.data.words import ago
from jobctl.top import acting
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.listing import ListView
from jobctl.top.views.sets import SetView
from jobd.api.entry import Api
from jobd.api.search.groups import FailureGroup, FailureGroups
from jobd.errors import JobdError

_EVERY = 0.3
"""Seconds between two looks at the groups so far."""

_GROUPED = tuple(of for of in SETS if of.name != "scheduled")


class Grouped(NamedTuple):
    """A group and the set in which its jobs are."""

    of: Set
    group: FailureGroup


class GroupsView(ListView[list[Grouped]]):
    """The page. All failed jobs are gone through when it is opened, and when ``r`` asks for it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "act('retry')", "Retry all"),
        Binding("K", "act('kill')", "Kill all"),
        Binding("D", "act('delete')", "Delete all"),
    ]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("JOBS", 8, right=True),
            Column("SET", 7),
            Column("ERROR", 12, share=3),
            Column("PLACE", 12, share=3, drop=1),
            Column("CLASSES", 10, share=2, drop=2),
            Column("LAST", 11, right=True, drop=3),
        ]
        super().__init__(source, "Groups", columns)
        self._scanned = self._total = 0
        self._state = ""

    def reading(self) -> Callable[[Api], list[Grouped]] | None:
        return None

    def entered(self) -> None:
        if self._found is None:
            self.again()

    def again(self) -> None:
        self.run_worker(self._group(), group="grouping", exclusive=True)

    async def _group(self) -> None:
        found: dict[str, list[Grouped]] = {}
        self._scanned, self._state, shown_at = 0, "grouping", 0.0
        try:
            self._total = await self.source.act(lambda api: sum(of.of(api).size for of in _GROUPED))
            for of in _GROUPED:
                groups, before = of.of(self.source.api).groups(), self._scanned
                while not groups.done:
                    await self.source.act(partial(_step, groups))
                    self._scanned = before + groups.scanned
                    if time.monotonic() - shown_at > _EVERY:
                        found[of.name] = [Grouped(of, one) for one in groups.found]
                        self._show_so_far(found)
                        shown_at = time.monotonic()
                found[of.name] = [Grouped(of, one) for one in groups.found]
            self._state = ""
        except JobdError as error:
            self._state = "incomplete"
            self.complain(str(error))
        self._show_so_far(found)

    def _show_so_far(self, found: dict[str, list[Grouped]]) -> None:
        every = [one for some in found.values() for one in some]
        self.show(sorted(every, key=lambda one: -one.group.count))

    def head(self, found: list[Grouped]) -> str:
        state = f" - {self._state}, {self._scanned:,} of {self._total:,}" if self._state else ""
        return f"Groups of {self._scanned:,} failed jobs: {len(found):,}{state}"

    def rows(self, found: list[Grouped]) -> list[Row]:
        return [_row(one) for one in found]

    def details(self, row: Row) -> None:
        one: Grouped = row.subject
        self.open(SetView(self.source, one.of, f"group:{one.group.key}"))

    def action_act(self, name: str) -> None:
        """Do it to all jobs of the group."""
        row = self.table.current
        if row is None:
            return
        one: Grouped = row.subject
        if name not in one.of.actions:
            self.complain("these jobs are dead already")
            return
        self.begin(self._act(one, name))

    async def _act(self, one: Grouped, name: str) -> None:
        chosen = Filters(group=one.group.key)
        if await acting.on_set(self, one.of, name, chosen, one.group.count):
            self.again()


def _step(groups: FailureGroups, _api: Api) -> None:
    groups.step()


def _row(one: Grouped) -> Row:
    group = one.group
    return Row(
        f"{one.of.name} {group.key}",
        [
            f"{group.count:,}",
            one.of.name,
            (f"{group.error_class}: {group.sample}".partition("\n")[0], "red"),
            group.place,
            ", ".join(group.classes),
            ago(group.last_seen),
        ],
        one,
    )
