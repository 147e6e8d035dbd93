"""``jobctl export``."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Unpack

import click
import msgspec

from jobctl.codes import Code, Problem
from jobctl.data import completing, filters
from jobctl.data.bulk import Progress, interruptible
from jobctl.data.connection import connected
from jobctl.data.files import filing
from jobctl.data.filters import Filters
from jobctl.data.frame import Command, code_of
from jobctl.say import say
from jobd.api.entry import Api
from jobd.api.queues.queues import Queue
from jobd.api.records import JobRecord
from jobd.api.search.scans import Scan
from jobd.api.sets.entries import SortedEntry
from jobd.errors import UnavailableError
from jobd.text.counting import counted

_CHUNK = 256 * 1024
"""Bytes that are written at once."""

_INCOMPLETE = "the file is not complete, and jobctl import refuses it"


@click.command(cls=Command, params=filters.options())
@click.argument(
    "places",
    metavar="PLACE...",
    nargs=-1,
    required=True,
    shell_complete=completing.places,
)
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file, which must not exist.  [default: standard output]",
)
@click.pass_context
def export(
    context: click.Context,
    /,
    places: tuple[str, ...],
    file: Path | None,
    **given: Unpack[filters.Given],
) -> None:
    """Write the jobs of PLACE (queue:NAME, retries, scheduled, dead or all) as JSON lines.

    Nothing is changed. Every byte of a job is in the file. Jobs that run are not in it, nor what is
    pushed meanwhile; a job that moves meanwhile may be missed. jobctl import reads the file.
    """
    api, chosen = connected(context), Filters(**given)
    wanted = _places(context, api, places)
    if file is None:
        # With PYTHONUNBUFFERED, a write to sys.stdout may end before all is written.
        with open(sys.stdout.fileno(), "wb", closefd=False) as opened:
            count = _write(opened, api, wanted, chosen)
    else:
        try:
            opened = file.open("xb")
        except FileExistsError:
            raise Problem(Code.FAILED, f"{file} exists already") from None
        except OSError as error:
            raise Problem(Code.FAILED, f"cannot create {file}: {error.strerror}") from None
        try:
            with opened:
                count = _write(opened, api, wanted, chosen)
        except OSError as error:
            raise Problem(
                Code.FAILED, f"cannot write {file}: {error.strerror}; {_INCOMPLETE}"
            ) from None
        except UnavailableError as error:
            raise Problem(code_of(error), f"{error}; {_INCOMPLETE}") from None
    say(f"{counted(count, 'job')} written")


def _places(context: click.Context, api: Api, given: tuple[str, ...]) -> list[str]:
    """The names of keys, for what is given."""
    found: dict[str, None] = {}
    for each in given:
        if each == "all":
            queues = [f"queue:{queue.name}" for queue in Queue.all(api)]
            found |= dict.fromkeys([*filing.SETS.values(), *queues])
        elif each in filing.SETS:
            found[filing.SETS[each]] = None
        elif each.startswith("queue:") and len(each) > len("queue:"):
            found[each] = None
        else:
            raise click.UsageError(
                f"{each} is not a place: give queue:NAME, retries, scheduled, dead or all", context
            )
    return list(found)


def _write(out: IO[bytes], api: Api, places: list[str], chosen: Filters) -> int:
    header = filing.Header(filing.VERSION, secrets.token_hex(8), time.time())
    count, progress = 0, Progress("exporting", None)
    pending = bytearray(msgspec.json.encode(header) + b"\n")
    with interruptible() as interrupted:
        try:
            for scanned, found in _jobs(api, places, chosen):
                for line in found:
                    pending += msgspec.json.encode(line) + b"\n"
                count += len(found)
                # Asked also where nothing fits: a filter may find the first job after a million.
                stop = interrupted()
                if stop or len(pending) >= _CHUNK:
                    out.write(pending)
                    pending.clear()
                progress.show(scanned, count if chosen else None)
                if stop:
                    raise Problem(
                        Code.INTERRUPTED,
                        f"interrupted after {counted(count, 'job')}; {_INCOMPLETE}",
                    )
            out.write(pending + msgspec.json.encode(filing.End(count)) + b"\n")
            out.flush()
        finally:
            progress.clear()
    return count


def _jobs(
    api: Api, places: list[str], chosen: Filters
) -> Iterator[tuple[int, list[filing.Stored]]]:
    """What fits, in steps of the search, maybe nothing, and how many jobs it has looked at."""
    test = chosen.test() if chosen else None
    sets = {one.name: one for one in (api.retries, api.scheduled, api.dead)}
    before = 0
    for place in places:
        scan: Scan[JobRecord]
        if place in sets:
            scan = sets[place].scan(chosen.text, test)
        else:
            scan = api.queue(place.partition(":")[2]).scan(chosen.text, test)
        while not scan.done:
            found = [filing.stored(place, job.value, _score(job)) for job in scan.next()]
            yield before + scan.scanned, found
        before += scan.scanned


def _score(job: JobRecord) -> float | None:
    return job.score if isinstance(job, SortedEntry) else None
