"""One job: why it does not run, all that is known of it, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.data import jobview
from jobctl.data.sets import SETS
from jobctl.data.why import Explanation, advice, explained
from jobctl.top import acting
from jobctl.top.source import Source
from jobctl.top.views.text import TextView, block, facts
from jobd.api.entry import Api
from jobd.api.features.held_back import LOCK, find_held_back
from jobd.api.find import WORK, Found, JobSearch
from jobd.api.queues.finding import QueuedKey
from jobd.api.records import JobRecord
from jobd.api.sets.entries import SortedEntry
from jobd.text.printable import shown

_SECONDS = 0.1
"""For which a job of a queue is looked for that is not where it was; then it may be anywhere."""

_ANYWHERE = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of the job; *found* is None if it is not in Redis any more, as far as a short
    search can tell."""

    found: Found | None
    told: Explanation


class JobView(TextView[Look]):
    """The page.

    Args:
        found: the job, where it was seen.
    """

    every: ClassVar[float] = 5.0

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "act('retry')", "Retry"),
        Binding("K", "act('kill')", "Kill"),
        Binding("D", "act('delete')", "Delete"),
        Binding("S", "act('reschedule')", "Resched."),
        Binding("M", "act('move')", "Move"),
        Binding("X", "cancel", "Cancel"),
    ]

    def __init__(self, source: Source, found: Found) -> None:
        super().__init__(source, f"Job {found.job.jid[:60]}")
        self.where: Found | None = found
        self.last = found

    def reading(self) -> Callable[[Api], Look] | None:
        before = self.where
        return None if before is None else lambda api: _look(api, before)

    def again(self) -> None:
        """Look for it once more, if it had gone."""
        self.where = self.where or self.last

    def show(self, found: Look) -> None:
        self.where = found.found
        if found.found is not None:
            self.last = found.found
        self.write(_text(self.last, found))
        self.refresh_bindings()

    # -- acting ----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "cancel":
            return self.where is not None and self.where.place != "dead"
        return action != "act" or parameters[0] in self._actions()

    def _actions(self) -> set[str]:
        """What can be done where it is."""
        if self.where is None or self.where.place in (WORK, LOCK):
            return set()
        if isinstance(self.where.job, SortedEntry):
            return next(
                {*of.actions} for of in SETS if of.of(self.source.api).name == self.where.place
            )
        return {"delete", "move"}

    def action_act(self, name: str) -> None:
        work: Coroutine[object, None, bool]
        if self.where is None:
            return
        job = self.where.job
        if isinstance(job, SortedEntry):
            of = next(of for of in SETS if of.of(self.source.api).name == self.where.place)
            work = acting.on_entries(self, of, name, [job])
        else:
            work = acting.on_queued(self, job.queue, name, [job])
        self.begin(work)

    def action_cancel(self) -> None:
        if self.where is not None:
            self.begin(acting.cancel(self, self.where.job))


def _look(api: Api, before: Found) -> Look:
    found = _where_it_was(api, before)
    if found is None and before.job.jid:
        rest = JobSearch(api, before.job.jid).first(1, seconds=_ANYWHERE)
        found = rest[0] if rest else None
    return Look(found, explained(api, before.job.jid, found))


def _where_it_was(api: Api, before: Found) -> Found | None:
    job: JobRecord | None
    if before.place == WORK:
        claim = api.in_flight.find_job(before.job.jid)
        work = None if claim is not None else api.work.find_work(before.job.jid)
        job = claim.job if claim is not None else None if work is None else work.job
    elif before.place == LOCK:
        job = find_held_back(api, before.job.jid)
    elif isinstance(before.job, SortedEntry):
        kept = next(of.of(api) for of in SETS if of.of(api).name == before.place)
        job = kept.find(before.job.key)
    else:
        key = QueuedKey(before.job.digest, before.job.jid, before.job.before)
        job = next(iter(api.queue(before.job.queue).find_all([key], seconds=_SECONDS)), None)
    return None if job is None else Found(before.place, job)


def _text(last: Found, look: Look) -> Text:
    job, told = last.job, look.told
    text = Text()
    text.append(f"{shown(told.sentence[:2000])}\n\n", "bold red" if told.blocks else "bold")
    pairs = []
    if look.found is not None:
        for at, reason in enumerate(told.reasons):
            words = [] if at == 0 else [str(reason.text)]
            words.append(advice(reason, last) or (str(reason.advice) if at == 0 else ""))
            pairs.append(("also" if at else "do", " ".join(filter(None, words))))
        if pairs:
            facts(pairs, text)
            text.append("\n")
    if job.malformed:
        text.append(f"{jobview.MALFORMED}\n", "yellow")
    facts(jobview.facts_of(job, last.place), text)
    if trace := job.error_backtrace:
        text.append("\n").append_text(block("\n".join(f"  {line}" for line in trace)))
    return text
