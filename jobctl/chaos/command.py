"""``jobctl chaos``: the command, and one run from the first push to the verdict."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click
import msgspec

from jobctl import options
from jobctl.chaos import journal, plan, space
from jobctl.chaos.daemons import MASTERS, Daemons
from jobctl.chaos.plan import Push, Pusher
from jobctl.chaos.verdict import Verdict, judge
from jobctl.codes import Code, Problem
from jobctl.data import bulk, output
from jobctl.data.connection import address
from jobctl.data.frame import Command
from jobd.api.entry import Api
from jobd.errors import UnavailableError
from jobd.jobs.client import Client
from jobd.text.counting import counted

BACKLOG = 300
"""Jobs in the queues above which nothing is pushed."""

START, DRAIN = 60.0, 120.0
"""Seconds for the daemons to start, and for all jobs to end after the last fault."""

_POISON = "jobd.keeper.recovery.PoisonPill"


class Outcome(msgspec.Struct, frozen=True):
    """The answer as JSON; *recoveries* are seconds."""

    seed: int
    seconds: float
    kills: int
    faults: dict[str, int]
    jobs: int
    executed: int
    dead: int
    executions: int
    duplicates: dict[str, int]
    refused_pushes: int
    recoveries: list[float]
    lost: list[str]
    wrong: list[str]
    removed_keys: int


@click.command(cls=Command)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=3600),
    default=60.0,
    metavar="N",
    help="Inject faults for N seconds.  [default: 60]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1, max=100_000),
    default=5_000,
    metavar="N",
    help="Push at most N jobs.  [default: 5000]",
)
@click.option("--seed", type=int, default=None, metavar="N", help="Repeat the faults of a run.")
@click.option("--clean", is_flag=True, help="Only remove what runs that were killed have left.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
@click.pass_context
def chaos(
    context: click.Context, seconds: float, jobs: int, seed: int | None, clean: bool, yes: bool
) -> int:
    """Prove that nothing is lost on your Redis: run two daemons under a prefix of its own, kill
    their processes and connections at random, and account for every job.

    Nobody else's keys, processes and connections are touched. It keeps at most 300 jobs in its
    queues, and ends after N seconds and the time for the jobs to end, at most three minutes. It
    refuses a server whose memory or connections are scarce. Afterwards, also after Ctrl-C, its keys
    are removed.

    Exit codes: 0 nothing was lost, 1 something was, 6 the server is not fit for it.
    """
    url, before = address(context)
    if clean:
        return _clean(Api(url, before))
    prefix = space.new_prefix(before)
    api = Api(url, prefix)
    space.require_fit(api)
    bulk.confirm(
        context,
        f"Run {MASTERS} daemons on this host for {seconds:g} s, with keys {prefix}* in Redis?",
        yes=yes,
    )
    seed = random.randrange(1_000_000) if seed is None else seed
    with _interruptible():
        outcome = _Run(api, url, seed, seconds, jobs).play()
    if options.wants_json(context):
        output.record(outcome)
    else:
        _show(outcome)
    return Code.FAILED if outcome.lost or outcome.wrong else Code.DONE


class _Run:
    """One run."""

    def __init__(self, api: Api, url: str, seed: int, seconds: float, most: int) -> None:
        self._api = api
        self._seed = seed
        self._seconds = seconds
        self._most = most
        self._pushed: list[Push] = []
        self._refused = 0
        self._marked = 0.0
        space.keep_alive(api)
        name = api.keys.prefix.rstrip(":").rpartition(":")[2]
        self._daemons = Daemons(url, api.keys.prefix, name if _may_be_named(api, url, name) else "")
        self._pusher = Pusher(seed, Client(url, api.keys.prefix))

    def play(self) -> Outcome:
        """Play it; whatever happens, everything is removed."""
        began = time.monotonic()
        removed = 0
        try:
            self._await_start()
            if not self._daemons.ready():
                raise Problem(
                    Code.FAILED, f"the daemons do not start:\n{self._daemons.logs()[-2000:]}"
                )
            self._break()
            self._let_pass(DRAIN, lambda: not self._left())
            left = self._left()
            self._daemons.stop()
            verdict = judge(
                self._pushed,
                journal.read(self._daemons.journal),
                self._dead(),
                left,
                self._daemons.record,
            )
        finally:
            with _deaf():
                self._daemons.remove()
                removed = _removed(self._api)
        return self._outcome(verdict, time.monotonic() - began, removed)

    def _await_start(self) -> None:
        end = time.monotonic() + START
        while not (self._daemons.ready() or self._daemons.refuse_to_start()):
            if time.monotonic() > end:
                return
            time.sleep(0.05)

    def _break(self) -> None:
        end = time.monotonic() + self._seconds
        for fault in plan.faults(self._seed):
            if time.monotonic() >= end:
                return
            self._daemons.inject(fault, self._api)
            until = min(end, time.monotonic() + fault.pause)
            while True:
                self._push()
                self._turn()
                if time.monotonic() >= until:
                    break

    def _push(self) -> None:
        try:
            if len(self._pushed) >= self._most or self._waiting() >= BACKLOG:
                return
            for _ in range(5):
                self._pushed.append(self._pusher.push())
        except UnavailableError:
            self._refused += 1

    def _waiting(self) -> int:
        keys = self._api.keys
        return sum(int(self._api.redis.llen(keys.queue(name))) for name in plan.QUEUES)

    def _let_pass(self, most: float, done: Callable[[], bool]) -> None:
        end = time.monotonic() + most
        while not done() and time.monotonic() < end:
            self._turn()

    def _turn(self) -> None:
        self._daemons.tend()
        if time.monotonic() > self._marked + space.ALIVE / 6:
            self._marked = time.monotonic()
            try:
                space.keep_alive(self._api)
            except UnavailableError:
                pass
            if sys.stderr.isatty():
                kills = self._daemons.record.kills
                click.echo(f"{counted(len(self._pushed), 'job')}, {kills} kills", err=True)
        time.sleep(0.05)

    def _left(self) -> set[str]:
        """Jobs that have not ended."""
        api = self._api
        try:
            found = {job.jid for name in plan.QUEUES for job in api.queue(name)}
            found |= {entry.jid for jobs in (api.retries, api.scheduled) for entry in jobs}
            return found | {claim.job.jid for claim in api.in_flight}
        except UnavailableError:
            return {push.jid for push in self._pushed}

    def _dead(self) -> dict[str, bool]:
        return {entry.jid: entry.error_class == _POISON for entry in self._api.dead}

    def _outcome(self, verdict: Verdict, seconds: float, removed: int) -> Outcome:
        record = self._daemons.record
        return Outcome(
            seed=self._seed,
            seconds=seconds,
            kills=record.kills,
            faults={str(kind): count for kind, count in record.faults.most_common() if count},
            jobs=verdict.jobs,
            executed=verdict.executed,
            dead=verdict.dead,
            executions=verdict.executions,
            duplicates={str(kind): count for kind, count in verdict.duplicates.most_common()},
            refused_pushes=self._refused,
            recoveries=sorted(verdict.recoveries),
            lost=verdict.lost,
            wrong=verdict.wrong,
            removed_keys=removed,
        )


def _may_be_named(api: Api, url: str, name: str) -> bool:
    """Whether connections may have a name, by which they are found to be cut, and have no other."""
    if "client_name=" in url:
        return False
    try:
        api.redis.execute_command("CLIENT", "SETNAME", name)
        api.redis.execute_command("CLIENT", "SETNAME", "")
    except UnavailableError:
        return False
    return True


def _removed(api: Api) -> int:
    """Remove the keys, which a server that is away for a moment only delays."""
    end = time.monotonic() + 30
    while True:
        try:
            return space.clean(api)
        except UnavailableError:
            if time.monotonic() > end:
                output.line(
                    f"Redis does not answer, so the keys {api.keys.prefix}* are still there; "
                    "remove them later: jobctl chaos --clean",
                    fg="red",
                )
                return 0
            time.sleep(0.5)


def _clean(api: Api) -> int:
    removed, prefixes = 0, space.left_behind(api)
    for prefix in prefixes:
        removed += space.clean(Api(api.redis, prefix))
    output.line(f"{counted(removed, 'key')} of {counted(len(prefixes), 'run')} removed")
    return Code.DONE


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let TERM and a hang-up end it as Ctrl-C does: with everything removed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _deaf() -> Iterator[None]:
    """Hear no signal: a second Ctrl-C must not leave half of it behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _show(outcome: Outcome) -> None:
    faults = ", ".join(f"{count} {kind}" for kind, count in outcome.faults.items())
    twice = ", ".join(f"{count} after: {kind}" for kind, count in outcome.duplicates.items())
    recoveries = outcome.recoveries
    output.facts(
        [
            ("seed", f"{outcome.seed}, {outcome.seconds:.0f} s"),
            ("faults", faults),
            ("killed", f"{outcome.kills} processes"),
            (
                "jobs",
                f"{outcome.jobs:,}: {outcome.executed:,} executed, {outcome.dead:,} dead as they "
                "were to be, or as poison pills",
            ),
            ("executions", f"{outcome.executions:,}"),
            ("run twice", twice),
            (
                "recovery",
                f"{recoveries[len(recoveries) // 2]:.2f} s (median), {recoveries[-1]:.2f} s (most)"
                if recoveries
                else "",
            ),
            ("pushes", f"{outcome.refused_pushes} refused" if outcome.refused_pushes else ""),
            ("removed", f"{outcome.removed_keys} keys"),
        ]
    )
    for text in [*outcome.lost[:20], *outcome.wrong[:20]]:
        output.line(text, fg="red")
    output.line(
        f"{outcome.kills} kills, {counted(len(outcome.lost), 'job')} lost, "
        f"{len(outcome.wrong)} wrong",
        fg="red" if outcome.lost or outcome.wrong else "green",
    )
