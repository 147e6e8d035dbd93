"""``jobctl import``.

The jobs go into the trash first, as if they had been deleted there, and are then restored by the
scripts that undo a deletion. So nothing is imported from a file that is not whole, locks of unique
jobs and records of results are set again, and the rest of an import that is interrupted is where
``jobctl trash restore`` finds it.
"""

from __future__ import annotations

import math
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.data import bulk, output
from jobctl.data.bulk import Progress, interruptible
from jobctl.data.connection import connected
from jobctl.data.files import filing
from jobctl.data.frame import Command, code_of
from jobctl.data.steps import Restoring
from jobctl.data.words import kept_in_trash
from jobd.api.entry import Api
from jobd.api.reading import BATCH, batches
from jobd.api.session import KEPT
from jobd.errors import ConflictError, PayloadError, UnavailableError
from jobd.text.counting import counted
from jobd.wire import attachments, payload
from jobd.wire.json_value import UNREADABLE

_HEADER = 65_536
"""Bytes that are read for the first line: what is given may be any file."""

REMEMBERED = 90 * 86400
"""Seconds for which it is known that a file was imported."""


class Imported(msgspec.Struct, frozen=True):
    """What was done, as JSON.

    Attributes:
        imported: jobs that are where they were.
        kept: jobs that others keep out; they are in the trash under *refs*.
        dropped: members of batches and steps of workflows that are not here.
    """

    imported: int
    kept: int
    refs: list[str]
    dropped: int


@click.command("import", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--again", is_flag=True, help="Also if this file was imported before.")
@click.option("--dry-run", is_flag=True, help="Read the whole file; change nothing.")
@click.pass_context
def import_(context: click.Context, file: Path, again: bool, dry_run: bool) -> None:
    """Put the jobs of FILE, of jobctl export, where they were; - is standard input.

    Those of a queue are the next to run, in their old order; those of a set keep their times. A
    unique job stays in the trash if another one like it is there. A file is imported once, unless
    --again is given: it would double the jobs of its queues. Members of batches and steps of
    workflows that are not here become ordinary jobs.
    """
    api = connected(context)
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as opened:
            reading = _Reading(opened, str(file))
            header = reading.header()
            marker = api.keys.imported(header.id)
            if not again and api.redis.exists(marker):
                raise _twice(header)
            refs, count, dropped = _staged(api, reading, dry_run=dry_run)
    except OSError as error:
        raise Problem(Code.FAILED, f"cannot read {file}: {error.strerror}") from None
    if dry_run:
        return bulk.rehearsed(context, count, f"Export {header.id}.{_ordinary(dropped)}")
    if not api.redis.set(marker, api.who, nx=not again, ex=REMEMBERED):
        _unstage(api, refs)
        raise _twice(header)
    importing = _Importing(api, refs)
    # The same command would be refused from here on: what goes on with the rest is the trash.
    done = bulk.run(importing, "importing", count, importing.said, rest="")
    left = api.trash.find_all(refs)
    kept = sum(one.jobs for one in left.values())
    if options.wants_json(context):
        output.record(Imported(done, kept, list(left), dropped))
        return None
    output.line(f"Imported {counted(done, 'job')}.{_ordinary(dropped)}")
    if kept:
        output.line(
            f"{kept_in_trash(kept)}: other jobs hold their locks, or their workflows have gone on "
            f"without them. {_restoring(left)}"
        )
    return None


def _ordinary(dropped: int) -> str:
    """What is said of members whose batch or workflow is not here."""
    if not dropped:
        return ""
    members = counted(dropped, "membership")
    return f" {members} dropped: of batches and workflows that are not here."


def _twice(header: filing.Header) -> Problem:
    return Problem(
        Code.FAILED,
        f"export {header.id} was imported before; give --again to import all its jobs once more. "
        "If that was interrupted, jobctl trash ls shows what is left, and jobctl trash restore "
        "brings only that back",
    )


class _Reading:
    """The lines of a file, one at a time."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name, self._number = file, name, 0

    def header(self) -> filing.Header:
        """The first line."""
        try:
            found = msgspec.json.decode(self._line(_HEADER), type=filing.Header)
        except UNREADABLE:
            raise Problem(Code.USAGE, f"{self._name} is not a file of jobctl export") from None
        if found.jobd_export != filing.VERSION:
            raise Problem(
                Code.USAGE,
                f"{self._name} has version {found.jobd_export} of the format; this jobctl knows "
                f"version {filing.VERSION}",
            )
        return found

    def jobs(self) -> Iterator[filing.Stored]:
        """The jobs, until the last line says that these are all."""
        count = 0
        while line := self._line():
            try:
                if line.startswith(b'{"end":'):
                    if msgspec.json.decode(line, type=filing.End).end != count:
                        raise ValueError
                    if self._line():
                        raise self._wrong(
                            "comes after the end of an export: import one file at a time"
                        )
                    return
                found = msgspec.json.decode(line, type=filing.Stored)
                _check(found)
            except UNREADABLE:
                raise self._wrong("is not what jobctl export writes") from None
            count += 1
            yield found
        raise self._wrong("is the end: the file is not complete")

    def _wrong(self, what: str) -> Problem:
        return Problem(
            Code.FAILED, f"line {self._number} of {self._name} {what}; nothing was imported"
        )

    def _line(self, most: int = -1) -> bytes:
        self._number += 1
        return self._file.readline(most)


def _check(job: filing.Stored) -> None:
    known = job.place in filing.SETS.values()
    if not known and not (job.place.startswith("queue:") and len(job.place) > len("queue:")):
        raise ValueError
    if known and math.isnan(float(job.score or "")):
        raise ValueError
    _ = job.raw


def _staged(api: Api, reading: _Reading, *, dry_run: bool) -> tuple[list[str], int, int]:
    """Put all jobs into the trash; the ids of the deletions, one for each place, the number of
    jobs, and that of those whose batch or workflow is not here. What was put there is taken away
    again if the file is not whole."""
    refs: dict[str, str] = {}
    counts: dict[str, int] = {}
    progress, total, dropped = Progress("reading", None), 0, 0
    complete = False
    with interruptible() as interrupted:
        try:
            for batch in batches(reading.jobs(), _weight, BATCH):
                if interrupted():
                    raise Problem(Code.INTERRUPTED, "interrupted; nothing was imported")
                total += len(batch)
                dropped += _homeless(api, batch)
                for job in batch:
                    refs.setdefault(job.place, f"{int(time.time() * 1e6):x}-{secrets.token_hex(4)}")
                    counts[job.place] = counts.get(job.place, 0) + 1
                if not dry_run:
                    _stage(api, batch, refs)
                progress.show(total)
            if not dry_run:
                _describe(api, refs, counts)
            complete = True
        except UnavailableError as error:
            raise Problem(code_of(error), f"{error}; nothing was imported") from None
        finally:
            progress.clear()
            if not complete:
                with suppress(UnavailableError):  # what is left expires
                    _unstage(api, list(refs.values()))
    return list(refs.values()), total, dropped


def _weight(job: filing.Stored) -> int:
    return len(job.payload or job.base64 or "")


def _homeless(api: Api, jobs: list[filing.Stored]) -> int:
    """How many of *jobs* belong to a batch or workflow that is not here."""
    with api.redis.pipeline(transaction=False) as pipe:
        for home in filter(None, (_home(api, job.raw) for job in jobs)):
            pipe.exists(home)
        return pipe.execute().count(0)


def _home(api: Api, raw: bytes) -> str:
    """The key of what a job belongs to; "" for ordinary and unreadable ones."""
    try:
        attached = attachments.read(payload.parse(raw).jobd)
    except (PayloadError, attachments.Unknown):
        return ""
    if attached.node is not None:
        return api.keys.workflow(attached.node.workflow)
    belongs = attached.batch or attached.callback
    return "" if belongs is None else api.keys.batch(belongs[0])


def _stage(api: Api, batch: list[filing.Stored], refs: dict[str, str]) -> None:
    with api.redis.pipeline(transaction=False) as pipe:
        for job in batch:
            key = api.keys.trashed_jobs(refs[job.place])
            if job.score is None:
                pipe.lpush(key, job.raw)
            else:
                pipe.zadd(key, {job.raw: float(job.score)})
            pipe.expire(key, KEPT)
        pipe.execute()


def _describe(api: Api, refs: dict[str, str], counts: dict[str, int]) -> None:
    now = time.time()
    with api.redis.pipeline(transaction=False) as pipe:
        for place, ref in refs.items():
            key = api.keys.trashed(ref)
            pipe.hset(key, mapping={"who": api.who, "action": "import", "origin": place})
            pipe.hset(key, mapping={"went_to": "", "jobs": counts[place], "at": repr(now)})
            pipe.expire(api.keys.trashed(ref), KEPT)
            pipe.zadd(api.keys.trash, {ref: now + KEPT})
        pipe.execute()


def _unstage(api: Api, refs: list[str]) -> None:
    for ref in refs:
        api.redis.unlink(api.keys.trashed_jobs(ref), api.keys.trashed(ref))
        api.redis.zrem(api.keys.trash, ref)


class _Importing:
    """What is in the trash goes where it was, one place after the other.

    Attributes:
        scanned: jobs that are there.
    """

    def __init__(self, api: Api, refs: list[str]) -> None:
        self._api = api
        self._left = {ref: Restoring(api, ref) for ref in refs}
        self.scanned = 0

    @property
    def done(self) -> bool:
        return not self._left

    def step(self) -> int:
        """Go on; returns how many jobs it has put there."""
        ref, place = next(iter(self._left.items()))
        restored, over = 0, False
        try:
            restored = place.step()
        except ConflictError:
            over = True  # all of them are kept out by unique jobs
        if over or place.done:
            del self._left[ref]
        self.scanned += restored
        return restored

    def said(self, count: int) -> str:
        """What has been done, and what goes on with the rest."""
        left = list(self._left)
        with suppress(UnavailableError):
            left = list(self._api.trash.find_all(left))
        rest = f" The others are in the trash: {_restoring(left)}" if left else ""
        return f"Imported {counted(count, 'job')}.{rest}"


def _restoring(refs: Iterable[str]) -> str:
    """The commands that bring back these deletions: each takes one."""
    return "; ".join(f"jobctl trash restore {ref}" for ref in refs)
