"""What runs, as the Busy page shows it: hosts, their worker processes, the jobs of their threads.

A reading is made short at once, whatever is in Redis, and kept for everybody who looks. With many
processes it is kept for longer: they tell news only every ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobd.api import Api, IterableState, Page, Process, Progress, Work
from jobd.api.shared.figures import SHARED, lasts
from jobd.text.translatable import Text
from jobd.web.job_address import Place
from jobd.web.shared.state import State
from jobd.web.views.present import clip
from jobd.web.views.rows import Row, row_of

PAGE = 100
"""Jobs, or processes, of one page of a list."""

WORKERS = 20
"""Processes with their jobs of one page."""

THREADS = 20
"""Running jobs that are shown with their process; the others have a page of their own."""

OPEN = 12
"""Processes up to which all hosts are shown open."""

_NAME = 120


@dataclass(frozen=True, slots=True)
class Running:
    """One running job.

    Attributes:
        since: when it was started, seconds since 1970.
        progress: how far it says that it has come.
        silent_since: its last report, or its start.
        stalled: whether that is longer ago than it allows.
        words: what a search looks through.
    """

    process: str
    thread: str
    since: float
    row: Row
    jid: str
    words: str
    progress: Progress | None
    silent_since: float
    stalled: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """All that runs at one moment; jobs by process, the longest running first."""

    processes: tuple[Process, ...]
    jobs: Mapping[str, tuple[Running, ...]]

    @property
    def threads(self) -> int:
        """How many jobs may run at the same time."""
        return sum(process.concurrency for process in self.processes)

    @property
    def coroutines(self) -> int:
        """How many of these places for jobs are on event loops."""
        return sum(process.coroutines for process in self.processes)

    @property
    def running(self) -> int:
        return sum(map(len, self.jobs.values()))

    @property
    def utilisation(self) -> float:
        """The part of all threads that are busy, from 0 to 1."""
        return min(1.0, self.running / self.threads) if self.threads else 0.0

    @property
    def rss(self) -> int:
        """Bytes of memory."""
        return 1024 * sum(process.rss for process in self.processes)


@dataclass(frozen=True, slots=True)
class Worker:
    """One process with the first of its jobs; *more* says how many others there are."""

    process: Process
    jobs: tuple[Running, ...]
    more: int

    @property
    def running(self) -> int:
        return len(self.jobs) + self.more

    @property
    def idle(self) -> int:
        return max(0, self.process.concurrency - len(self.jobs) - self.more)


@dataclass(frozen=True, slots=True)
class Host:
    """One host; *workers* are those of them that this page shows, none if it is closed."""

    name: str
    processes: int
    threads: int
    coroutines: int
    running: int
    rss: int
    stopping: int
    is_open: bool
    workers: tuple[Worker, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """The hosts, and which of the processes of the open ones the page shows."""

    hosts: tuple[Host, ...]
    page: Page[Worker]


def read(state: State) -> Reading:
    """What runs now, some seconds old at most."""
    processes = tuple(state.processes())
    jobs = state.snapshots.get(
        # Whoever runs nothing is asked twice.
        "running jobs",
        lambda found: lasts(2 * len(processes) - len(found)),
        lambda: _read(state.api, processes),
    )
    return Reading(processes, jobs)


def _read(api: Api, processes: Iterable[Process]) -> Mapping[str, tuple[Running, ...]]:
    """The running jobs of these processes, in the order of :class:`Reading`."""
    jobs: dict[str, list[Running]] = {}
    for work in api.work.each([process.identity for process in processes]):
        jobs.setdefault(work.process, []).append(_running(work))
    return {name: tuple(sorted(found, key=lambda job: job.since)) for name, found in jobs.items()}


def _running(work: Work) -> Running:
    job = work.job
    row = row_of(job, Place("work", job.jid[:_NAME]), work.run_at)
    words = " ".join((work.process, work.thread, row.queue, row.name, row.args, job.jid, *row.tags))
    return Running(
        process=work.process,
        thread=clip(work.thread, 40),
        since=work.run_at,
        row=row,
        jid=job.jid[:_NAME],
        words=words.lower(),
        progress=work.progress,
        silent_since=work.silent_since,
        stalled=work.stalled(time.time()),
    )


def search(reading: Reading, wanted: str) -> Reading:
    """Only what holds that text: a process in its own facts, with all of its jobs; else the jobs
    that hold it."""
    wanted = wanted.strip().lower()
    if not wanted:
        return reading
    processes = []
    jobs: dict[str, tuple[Running, ...]] = {}
    for process in reading.processes:
        mine = reading.jobs.get(process.identity, ())
        if wanted not in _words(process):
            mine = tuple(job for job in mine if wanted in job.words)
            if not mine:
                continue
        processes.append(process)
        if mine:
            jobs[process.identity] = mine
    return Reading(tuple(processes), jobs)


def _words(process: Process) -> str:
    facts = (process.identity, process.hostname, process.tag, process.version)
    return " ".join((*facts, *process.labels, *process.queues)).lower()


def tree(reading: Reading, chosen: str, start: int, *, all_open: bool) -> Tree:
    """The hosts, with some processes of those that are open.

    Args:
        chosen: name of the host that somebody has opened.
        start: of the processes of open hosts, the first one to show.
        all_open: there are few, or they were searched for.
    """
    by_host: dict[str, list[Process]] = {}
    for process in reading.processes:
        by_host.setdefault(process.hostname, []).append(process)
    shown = [
        process
        for name, members in sorted(by_host.items())
        if all_open or name == chosen
        for process in members
    ]
    page = shown[start : start + WORKERS]
    workers = {process.identity: _worker(process, reading) for process in page}
    hosts = [
        _host(name, members, reading, workers, all_open or name == chosen)
        for name, members in sorted(by_host.items())
    ]
    return Tree(tuple(hosts), Page(tuple(workers.values()), start, len(shown)))


def _host(
    name: str,
    members: list[Process],
    reading: Reading,
    workers: Mapping[str, Worker],
    is_open: bool,
) -> Host:
    mine = (workers.get(process.identity) for process in members)
    return Host(
        name=name,
        processes=len(members),
        threads=sum(process.concurrency for process in members),
        coroutines=sum(process.coroutines for process in members),
        running=sum(len(reading.jobs.get(process.identity, ())) for process in members),
        rss=1024 * sum(process.rss for process in members),
        stopping=sum(process.stopping for process in members),
        is_open=is_open,
        workers=tuple(worker for worker in mine if worker is not None),
    )


def _worker(process: Process, reading: Reading) -> Worker:
    mine = reading.jobs.get(process.identity, ())
    return Worker(process, mine[:THREADS], max(0, len(mine) - THREADS))


def all_jobs(reading: Reading, identity: str, start: int) -> Page[Running]:
    """A page of the running jobs, of one process or of all, the longest running first."""
    if identity:
        found = list(reading.jobs.get(identity, ()))
    else:
        found = sorted(
            (job for jobs in reading.jobs.values() for job in jobs), key=lambda job: job.since
        )
    return Page(tuple(found[start : start + PAGE]), start, len(found))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of processes.

    Attributes:
        order: what it is sorted by.
        is_number: the largest come first.
    """

    text: Text
    order: Callable[[Process], Any]
    is_number: bool = False


COLUMNS = {
    "process": Column(Text("Process"), lambda one: one.identity),
    "version": Column(Text("Version"), lambda one: (one.is_jobd, one.version)),
    "queues": Column(Text("Queues"), lambda one: one.queues),
    "threads": Column(Text("Threads"), lambda one: one.concurrency, is_number=True),
    "busy": Column(Text("Busy"), lambda one: one.busy, is_number=True),
    "memory": Column(Text("Memory"), lambda one: one.rss, is_number=True),
    "started": Column(Text("Started"), lambda one: one.started_at),
}
"""By what the address calls them."""


def all_processes(reading: Reading, start: int, sort: str) -> Page[Process]:
    """A page of the processes, by one of the columns."""
    column = COLUMNS[sort]
    found = sorted(reading.processes, key=column.order, reverse=column.is_number)
    return Page(tuple(found[start : start + PAGE]), start, len(found))


def progress(state: State, jobs: Iterable[Running]) -> Mapping[str, IterableState]:
    """How far those of these jobs have come that can tell, by their ids."""
    jids = tuple(job.jid for job in jobs if job.jid)
    if not jids:
        return {}
    key = ("progress", jids)
    return state.snapshots.get(key, SHARED, lambda: state.progress.look(state.api, jids))


def queues_of(process: Process, most: int = 8) -> str:
    """The queues of a process in one line, with the weights that count."""
    shown = [
        clip(name, 40) + (f" ×{weight}" if weight > 1 else "")
        for name, weight in list(process.weights.items())[:most]
    ]
    more = len(process.queues) - most
    return ", ".join(shown) + (f" +{more}" if more > 0 else "")
