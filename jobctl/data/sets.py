"""``jobctl retries``, ``scheduled`` and ``dead``: the sorted sets, with the actions of the table
of actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Unpack

import click

from jobctl import options
from jobctl.data import bulk, common, filters, jobview, output
from jobctl.data.bulk import Outcome, Progress, searched
from jobctl.data.connection import connected
from jobctl.data.filters import Filters
from jobctl.data.frame import Command, Group, not_found
from jobctl.data.output import Column
from jobctl.data.words import ago, arguments, error_of, name_of, stay
from jobctl.say import say
from jobd.api import shapes
from jobd.api.actions import SET_ACTIONS, Action, Given, SetDo
from jobd.api.entry import Api
from jobd.api.records import is_plain
from jobd.api.sets.entries import SortedEntry
from jobd.api.sets.jobset import JobSet
from jobd.api.sets.steps import SetAction
from jobd.jobs.times import When
from jobd.text.counting import counted

_PAGE = 250
"""Entries of a page in a list without filters."""

_SAMPLE = 10
"""Jobs that are shown before an action."""


@dataclass(frozen=True, slots=True)
class Set:
    """One of the sets: its command, what it is called, and which actions it has by which names."""

    name: str
    attribute: str
    title: str
    time: str
    actions: Mapping[str, SetAction]

    def of(self, api: Api) -> JobSet:
        found: JobSet = getattr(api, self.attribute)
        return found


_MOVES: dict[str, SetAction] = {"reschedule": "reschedule", "delete": "delete"}

SETS = (
    Set(
        "retries",
        "retries",
        "Jobs that have failed and will be retried.",
        "NEXT RUN",
        {"retry": "retry", "kill": "kill", **_MOVES},
    ),
    Set(
        "scheduled",
        "scheduled",
        "Jobs that wait for their time.",
        "RUNS",
        {"retry": "add_to_queue", "kill": "kill", **_MOVES},
    ),
    Set(
        "dead",
        "dead",
        "Jobs that will not be retried.",
        "DIED",
        {"retry": "retry", "delete": "delete"},
    ),
)


def entries(jobs: JobSet, chosen: Filters) -> Iterator[SortedEntry]:
    """Those that fit: by their times where all do, else in no particular order, as found."""
    if not chosen:
        start = 0
        while True:
            page = jobs.page(start, _PAGE)
            yield from page
            start += len(page)
            if not page.more or not len(page):
                return
    yield from searched(jobs.scan(chosen.text, chosen.test()), jobs.size)


def show_entries(context: click.Context, of: Set, found: Iterator[SortedEntry]) -> int:
    """Print them."""
    if options.wants_json(context):
        return output.records(map(shapes.entry, found))
    columns = [
        Column(of.time),
        Column("JID"),
        Column("CLASS", gives=True),
        Column("QUEUE", gives=True),
        Column("ARGUMENTS", gives=True),
        Column("ERROR", gives=True, colour="red"),
    ]
    rows = (
        (
            ago(entry.score),
            entry.jid,
            name_of(entry),
            entry.queue,
            arguments(entry),
            error_of(entry),
        )
        for entry in found
    )
    return output.table(columns, rows)


def _listing(of: Set) -> click.Command:
    @click.pass_context
    def ls(context: click.Context, /, limit: int, **given: Unpack[filters.Given]) -> None:
        jobs, chosen = of.of(connected(context)), Filters(**given)
        found = entries(jobs, chosen)
        count = show_entries(context, of, islice(found, limit or None))
        if options.wants_json(context):
            return
        if not count:
            output.line("no jobs")
        elif limit and count == limit and not chosen and (size := jobs.size) > count:
            output.line(f"{size - count:,} more; --limit 0 shows all", dim=True)
        elif limit and count == limit and next(found, None) is not None:
            output.line("and more; --limit 0 shows all", dim=True)

    return Command(
        "ls",
        callback=ls,
        params=[*filters.options(errors=of.name != "scheduled"), common.limit()],
        help=f"List {of.name if of.name != 'dead' else 'dead jobs'}. With a filter, those that "
        "fit it, in no particular order.",
    )


def _showing(of: Set) -> click.Command:
    @click.pass_context
    def show(context: click.Context, jid: str) -> None:
        entry = of.of(connected(context)).find_job(jid)
        if entry is None:
            raise not_found(f"there is no job {jid} among the {of.name}; try jobctl jobs show")
        if options.wants_json(context):
            output.record(shapes.entry_detail(entry))
        else:
            jobview.show(entry, of.attribute)

    return Command(
        "show", callback=show, params=[click.Argument(["jid"])], help="Show a job by its id."
    )


def _acting(of: Set, name: str, kind: SetAction) -> click.Command:
    action = SET_ACTIONS[kind]

    @click.pass_context
    def act(
        context: click.Context,
        /,
        jids: tuple[str, ...],
        everything: bool,
        dry_run: bool,
        yes: bool = False,
        when: When | None = None,
        **given: Unpack[filters.Given],
    ) -> None:
        chosen = Filters(**given)
        if sum(map(bool, (jids, chosen, everything))) != 1:
            raise click.UsageError(
                "give the ids of jobs, or filters such as --class, or --all", context
            )
        if action.form == "when" and when is None:
            raise click.UsageError("give the time with --in", context)
        api = connected(context)
        work = _Work(context, api, of, of.of(api), kind, action, chosen, when)
        work.start(jids, dry_run=dry_run, yes=yes or not action.asks)

    params: list[click.Parameter] = [
        click.Argument(["jids"], nargs=-1, metavar="[JID]..."),
        *filters.options(errors=of.name != "scheduled"),
        click.Option(["--all", "everything"], is_flag=True, help="All jobs of the set."),
        common.dry_run(),
    ]
    if action.asks:
        params.append(common.yes())
    if action.form == "when":
        params.append(
            click.Option(
                ["--in", "when"],
                metavar="AGE",
                callback=filters.age,
                help="From now: 90s, 15m, 2h, 3d.",
            )
        )
    undo = " The trash keeps them for a day." if action.undoable else ""
    return Command(
        name,
        callback=act,
        params=params,
        short_help=str(action.summary),
        help=f"{action.summary} {action.effect}{undo}\n\nThe jobs are given by their ids, by "
        "filters, all of which must fit, or by --all.",
    )


@dataclass(slots=True)
class _Work:
    """One action on some jobs of a set."""

    context: click.Context
    api: Api
    of: Set
    jobs: JobSet
    kind: SetAction
    action: Action[SetDo]
    chosen: Filters
    when: When | None

    def start(self, jids: tuple[str, ...], *, dry_run: bool, yes: bool) -> None:
        found = self._by_id(jids) if jids else []
        asking = dry_run or not yes
        count = len(found) if jids else self._count() if asking else 0
        if dry_run:
            return self._rehearse(found, count)
        if asking:
            if not count and not options.wants_json(self.context):
                output.line("no jobs")
                return None
            question = f"{self.action.button} {counted(count, 'job')} of {self.of.name}?"
            bulk.confirm(self.context, f"{self._effect(count)} {question}".strip(), yes=yes)
        if jids:
            changed = self.action.do(self.jobs, found, Given(when=self.when))
        elif self.action.name == "delete" and not self.chosen:
            changed = self.jobs.clear()
        else:
            changed = self._sweep()
        outcome, said = Outcome(changed, ref=self._ref()), self._done(changed)
        if jids:
            return bulk.report_named(self.context, outcome, said, len(found))
        return bulk.report(self.context, outcome, said)

    def _done(self, changed: int) -> str:
        return str(self.action.done(changed, ""))

    def _effect(self, count: int) -> str:
        """What happens to so many jobs; the dead set has an end."""
        most = self.api.dead_max_jobs - 1
        if self.kind != "kill" or count <= most:
            return str(self.action.effect)
        return f"{self.action.effect} It keeps {most:,}; what is more is lost, also for the trash."

    def _ref(self) -> str:
        return self.api.last_ref if self.action.undoable else ""

    def _by_id(self, jids: tuple[str, ...]) -> list[SortedEntry]:
        """Those of these ids, in one search for all of them."""
        wanted = set(jids)
        match = jids[0] if len(wanted) == 1 and is_plain(jids[0]) else None
        scan, size = self.jobs.scan(match, lambda entry: entry.jid in wanted), self.jobs.size
        progress, found = Progress("searching", size), dict[str, SortedEntry]()
        while not scan.done and len(found) < len(wanted):
            found |= {entry.jid: entry for entry in scan.next()}
            progress.show(scan.scanned)
        progress.clear()
        if missing := [jid for jid in jids if jid not in found]:
            raise not_found(
                f"not among the {self.of.name}: {', '.join(missing)}; nothing was changed. jobctl "
                f"why {missing[0]} says where it is"
            )
        return list(found.values())

    def _count(self) -> int:
        """How many jobs are meant."""
        if not self.chosen:
            return self.jobs.size
        return sum(1 for _ in entries(self.jobs, self.chosen))

    def _sweep(self) -> int:
        test = self.chosen.test() if self.chosen else None
        sweep = self.jobs.sweep(
            self.kind,
            self.chosen.text if self.chosen else None,
            test,
            when=self.when,
        )
        what = str(self.action.button).lower()
        try:
            return bulk.run(sweep, what, self.jobs.size, self._done, self._ref)
        finally:
            if sweep.kept:
                say(stay(sweep.kept, sweep.keeps))

    def _rehearse(self, found: list[SortedEntry], count: int) -> None:
        if not options.wants_json(self.context):
            some = iter(found) if found else entries(self.jobs, self.chosen)
            show_entries(self.context, self.of, islice(some, _SAMPLE))
            if count > _SAMPLE:
                output.line(f"and {counted(count - _SAMPLE, 'more', 'more')}", dim=True)
        bulk.rehearsed(self.context, count, self._effect(count))


def _group(of: Set) -> Group:
    made: dict[str, click.Command] = {"ls": _listing(of), "show": _showing(of)}
    for name, kind in of.actions.items():
        made[name] = _acting(of, name, kind)
    return Group(of.name, commands=made, help=of.title)


retries, scheduled, dead = map(_group, SETS)
