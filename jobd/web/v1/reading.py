"""What the API tells. Everything is bounded; what is the same for all callers is shared by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Protocol

from msgspec import Meta

from jobd.api import (
    JobRecord,
    JobSearch,
    JobSet,
    RedisInfo,
    SortedEntry,
    Trouble,
    in_group,
    shapes,
)
from jobd.api.features.result_shapes import Result
from jobd.api.shared.figures import MOST_LOOKED_AT
from jobd.api.stats import MOST_DAYS
from jobd.web.http_errors import NotFound
from jobd.web.shared.state import Live
from jobd.web.v1.operations import Call, Query, Table

MOST = 100
"""Jobs of one page. Each may be a megabyte."""

SEARCH = 0.25
"""Seconds that one step of a search takes."""

GROUPING = 1.0
FINDING = 2.0
"""Seconds within which the jobs of a set are grouped, and one is looked for in a queue."""

END = r"(?![\s\S])"
"""The end of a text, for all dialects of patterns; for Python ``$`` also is before a newline."""

Start = Annotated[int, Meta(ge=0, le=1_000_000_000, description="Place of the first one.")]
Many = Annotated[int, Meta(ge=1, le=MOST, description="How many.")]
Name = Annotated[str, Meta(min_length=1, max_length=1000, description="Name of the queue.")]
Match = Annotated[
    str,
    Meta(
        max_length=1000,
        description="Text in the job's JSON.",
    ),
]
Pattern = Annotated[
    str,
    Meta(
        max_length=1000,
        description="Pattern for the job's JSON: it may hold * and, in parts of up to 32 bytes, "
        "? and [...], as in Redis.",
    ),
]
GO_ON = "Of the call before, to go on with its search."
SetCursor = Annotated[str, Meta(pattern=f"^[0-9]{{0,18}}{END}", description=GO_ON)]
QueueCursor = Annotated[
    str, Meta(pattern=f"^([0-9]{{1,18}}(-[0-9a-f]{{16}})?)?{END}", description=GO_ON)
]
Group = Annotated[
    str, Meta(pattern=f"^([0-9a-f]{{16}})?{END}", description="Key of a group of failures.")
]
Key = Annotated[
    str,
    Meta(
        max_length=1000,
        pattern=rf"^-?(inf|[0-9]+([.][0-9]+)?(e[+-]?[0-9]+)?)-[^\n]+{END}",
        description="Key of the job: SCORE-JID, as lists and searches tell it.",
    ),
]
Jid = Annotated[str, Meta(min_length=1, max_length=1000, description="Id of the job.")]
SetName = Literal["scheduled", "retries", "dead"]


class Days(Query, frozen=True):
    days: Annotated[int, Meta(ge=1, le=MOST_DAYS, description="How many.")] = 30


class OfJob(Query, frozen=True):
    jid: Jid


class Listed(Query, frozen=True):
    start: Start = 0
    count: Annotated[int, Meta(ge=1, le=1000, description="How many.")] = 1000


class QueuePage(Query, frozen=True):
    queue: Name
    start: Start = 0
    count: Many = 25
    newest_first: Annotated[bool, Meta(description="The other end first.")] = False


class QueueSearch(Query, frozen=True):
    queue: Name
    match: Match = ""
    pattern: Pattern = ""
    cursor: QueueCursor = ""
    count: Many = 25


class QueuedJob(Query, frozen=True):
    queue: Name
    jid: Jid


class OfSet(Query, frozen=True):
    set: SetName


class SetPage(OfSet, frozen=True):
    start: Start = 0
    count: Many = 25


class SetSearch(OfSet, frozen=True):
    match: Match = ""
    pattern: Pattern = ""
    group: Group = ""
    cursor: SetCursor = ""
    count: Many = 25


class SetJob(OfSet, frozen=True):
    key: Key


class OfProcess(Query, frozen=True):
    identity: Annotated[str, Meta(min_length=1, max_length=1000, description="Of the process.")]


Resumed = Annotated[
    str,
    Meta(
        max_length=1100,
        pattern=f"^([+]?[0-9]{{0,20}}(-[0-9a-f]{{16}})?([.][0-9]{{1,20}})?@[^\n]+)?{END}",
        description=GO_ON,
    ),
]


class Wanted(Query, frozen=True):
    jid: Jid
    cursor: Resumed = ""


class OfFamily(Query, frozen=True):
    root: Annotated[str, Meta(min_length=1, max_length=1000, description="Id of the first one.")]
    cursor: Resumed = ""


class AuditQuery(Query, frozen=True):
    count: Annotated[int, Meta(ge=1, le=1000, description="How many.")] = 25
    before: Annotated[
        str,
        Meta(
            pattern=f"^([0-9]{{1,18}}-[0-9]{{1,18}})?{END}",
            description="Only those before the entry of this id.",
        ),
    ] = ""


class TrashQuery(Query, frozen=True):
    start: Start = 0
    count: Annotated[int, Meta(ge=1, le=1000, description="How many.")] = 25


OPERATIONS = Table()


class _WithSet(Protocol):
    @property
    def set(self) -> str: ...


def set_of(call: Call, query: _WithSet) -> JobSet:
    """The set that is asked for."""
    found: JobSet = getattr(call.api, query.set)
    return found


@OPERATIONS.add("GET", "/stats", "The counters, as every page shows them.")
def stats(call: Call) -> Live:
    return call.state.counters()


@OPERATIONS.add("GET", "/history", "Counts by day, the last days first.")
def history(call: Call, query: Days) -> shapes.History:
    days = query.days
    found = call.state.snapshots.get(("history", days), 30.0, lambda: call.api.history(days))
    return shapes.History(found)


@OPERATIONS.add("GET", "/queues", "The queues by name.")
def queues(call: Call, query: Listed) -> shapes.Queues:
    found = call.state.queues()
    page = found[query.start : query.start + query.count]
    return shapes.Queues(page, len(found), call.state.known_queues())


@OPERATIONS.add("GET", "/jobs", "Jobs of a queue, the next to run first.")
def jobs(call: Call, query: QueuePage) -> shapes.QueuedJobs:
    queue = call.api.queue(query.queue)
    page = queue.page(query.start, query.count, newest_first=query.newest_first)
    return shapes.queued_jobs(page)


@OPERATIONS.add("GET", "/jobs/search", "Search a queue, step by step.")
def search_jobs(call: Call, query: QueueSearch) -> shapes.FoundQueued:
    scan = call.api.queue(query.queue).scan(query.match, pattern=query.pattern, cursor=query.cursor)
    found = list(map(shapes.job, scan.first(query.count, seconds=SEARCH)))
    return shapes.FoundQueued(found, scan.scanned, "" if scan.done else scan.cursor, scan.done)


@OPERATIONS.add("GET", "/job", "A job of a queue, with its backtrace.", finds=True)
def job(call: Call, query: QueuedJob) -> shapes.QueuedDetail:
    return shapes.queued_detail(find_queued(call, query.queue, query.jid))


@OPERATIONS.add("GET", "/results/{jid}", "The result of a job that keeps it.")
def result(call: Call, query: OfJob) -> Result:
    try:
        return Result.of(call.api.result(query.jid))
    except KeyError:
        raise NotFound("no result is kept for this id") from None


def find_queued(call: Call, queue: str, jid: str) -> JobRecord:
    """The job with this id in this queue.

    Raises:
        NotFound: it is not there, or not near enough to the head.
    """
    scan = call.api.queue(queue).scan(where=lambda job: job.jid == jid)
    for found in scan.first(1, seconds=FINDING):
        return found
    where = "in this queue" if scan.done else f"among the first {scan.scanned:,} of this queue"
    raise NotFound(f"there is no job with this id {where}")


@OPERATIONS.add("GET", "/sets/{set}", "Jobs of a set, by their times.")
def entries(call: Call, query: SetPage) -> shapes.Entries:
    return shapes.entries(set_of(call, query).page(query.start, query.count))


@OPERATIONS.add("GET", "/sets/{set}/search", "Search a set, step by step, in no particular order.")
def search_entries(call: Call, query: SetSearch) -> shapes.FoundEntries:
    where = in_group(query.group) if query.group else None
    scan = set_of(call, query).scan(query.match, where, pattern=query.pattern, cursor=query.cursor)
    found = list(map(shapes.entry, scan.first(query.count, seconds=SEARCH)))
    return shapes.FoundEntries(found, scan.scanned, "" if scan.done else scan.cursor, scan.done)


@OPERATIONS.add("GET", "/sets/{set}/groups", "Jobs of a set, grouped by what went wrong.")
def groups(call: Call, query: OfSet) -> shapes.Groups:
    def make() -> shapes.Groups:
        made = set_of(call, query).groups()
        found = made.run(GROUPING)
        return shapes.Groups(found, made.scanned, made.other, made.done)

    return call.state.snapshots.get(("api groups", query.set), 10.0, make)


@OPERATIONS.add("GET", "/sets/{set}/job", "A job of a set, with its backtrace.", finds=True)
def entry(call: Call, query: SetJob) -> shapes.EntryDetail:
    return shapes.entry_detail(find_entry(call, query))


def find_entry(call: Call, query: SetJob) -> SortedEntry:
    """The job that the key stands for.

    Raises:
        NotFound: it is not there.
    """
    found = set_of(call, query).find(query.key)
    if found is None:
        raise NotFound("there is no such job in this set (any more)")
    return found


@OPERATIONS.add("GET", "/processes", "The worker processes by identity.")
def processes(call: Call, query: Listed) -> shapes.Processes:
    found = call.state.processes()
    page = found[query.start : query.start + query.count]
    return shapes.Processes(list(map(shapes.process, page)), len(found))


@OPERATIONS.add("GET", "/work", "The jobs that run now, the longest running first.")
def work(call: Call, query: Listed) -> shapes.RunningJobs:
    def make() -> list[shapes.Running]:
        return list(map(shapes.running, call.api.work.all(MOST_LOOKED_AT)))

    found = call.state.snapshots.get("work", 2.0, make)
    return shapes.RunningJobs(found[query.start : query.start + query.count], len(found))


@OPERATIONS.add("GET", "/process/stacks", "What a process told when it was asked.", finds=True)
def stacks(call: Call, query: OfProcess) -> shapes.Stacks:
    found = call.api.processes.stacks([query.identity]).get(query.identity)
    if found is None:
        raise NotFound("this process has not told its stacks in the last minutes; ask it to dump")
    return shapes.Stacks(found.at, found.text)


@OPERATIONS.add("GET", "/find", "Find a job by its id, wherever it is, step by step.")
def find(call: Call, query: Wanted) -> shapes.FoundJobs:
    return _found(call.api.find(query.jid, cursor=query.cursor), 1)


@OPERATIONS.add("GET", "/family", "Find a job and those that it has led to, step by step.")
def family(call: Call, query: OfFamily) -> shapes.FoundJobs:
    return _found(call.api.family(query.root, cursor=query.cursor), 25)


def _found(search: JobSearch, count: int) -> shapes.FoundJobs:
    found = [
        shapes.Found(one.place, one.key, shapes.job(one.job))
        for one in search.first(count, seconds=SEARCH)
    ]
    return shapes.FoundJobs(found, search.scanned, search.cursor, search.done)


@OPERATIONS.add("GET", "/redis", "The Redis server, and what about it endangers jobs.")
def redis_info(call: Call) -> RedisInfo:
    found = call.state.info()
    short = found.memory_short and str(found.memory_short)
    return replace(found, memory_short=short, warnings=tuple(map(str, found.warnings)))


@OPERATIONS.add("GET", "/troubles", "What is wrong with daemons: crash loops, failed reloads.")
def troubles(call: Call) -> list[Trouble]:
    return call.state.troubles()


@OPERATIONS.add("GET", "/audit", "Who did what, the last first.")
def audit(call: Call, query: AuditQuery) -> shapes.AuditPage:
    found = call.api.audit.page(query.count, before=query.before)
    oldest = min(found, key=lambda one: tuple(map(int, one.id.split("-")))).id if found else ""
    return shapes.AuditPage(found, oldest)


@OPERATIONS.add("GET", "/trash", "What was deleted in the last 24 hours, the last first.")
def trash(call: Call, query: TrashQuery) -> shapes.TrashPage:
    return shapes.trash_page(call.api.trash.page(query.start, query.count))
