"""``jobctl redis``: what Redis is asked, what its memory is used for, and how it grows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import click
import msgspec

from jobctl import options
from jobctl.data import output
from jobctl.data.connection import connected
from jobctl.data.frame import Command
from jobctl.data.output import Column
from jobctl.data.words import size
from jobd.api.diagnosis import server, traffic, usage
from jobd.api.diagnosis.traffic import Sample
from jobd.api.entry import Api
from jobd.errors import RefusedError

_COMMANDS = 10
"""Commands that are shown, those that take most of the server's time."""


class Change(msgspec.Struct, frozen=True):
    """How much of something there is, and by how much it grows, a second."""

    name: str
    now: int
    rate: float


class Look(msgspec.Struct, frozen=True):
    """The answer as JSON; *parts* and *families* are null where the user of Redis may not use
    MONITOR or MEMORY USAGE. *seconds* is between the two looks, *sampled* the length of the sample
    of MONITOR."""

    seconds: float
    sampled: float
    parts: list[traffic.Part] | None
    commands: list[traffic.Usage]
    families: list[usage.Family] | None
    growth: list[Change]


@click.command("redis", cls=Command)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=600),
    default=5.0,
    metavar="N",
    help="Look for N seconds.  [default: 5]",
)
@click.option(
    "--no-monitor", is_flag=True, help="Do not sample commands: MONITOR slows a busy server down."
)
@click.pass_context
def redis(context: click.Context, seconds: float, no_monitor: bool) -> None:
    """Show commands a second by part of jobd, bytes by family of keys, and growth.

    Commands are sampled with MONITOR, for N seconds or 5,000 commands, and the bytes of keys that
    are no queue and no set with 1,000 random ones: ± is one standard deviation.
    """
    api = connected(context)
    began, before, used = time.monotonic(), _sizes(api), traffic.statistics(api.redis)
    sample = None if no_monitor else traffic.sample(api, seconds)
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    now, after = traffic.statistics(api.redis), _sizes(api)
    taken = time.monotonic() - began
    look = Look(
        seconds=taken,
        sampled=sample.seconds if sample else 0.0,
        parts=sample.parts if sample else None,
        commands=traffic.usages(used, now, taken),
        families=_families(api),
        growth=[Change(name, many, (many - before[name]) / taken) for name, many in after.items()],
    )
    if options.wants_json(context):
        output.record(look)
    else:
        _show(look, sample, no_monitor=no_monitor)


def _families(api: Api) -> list[usage.Family] | None:
    try:
        return usage.families(api)
    except RefusedError:
        return None


def _sizes(api: Api) -> dict[str, int]:
    facts = server.gather(api.redis, trips=0)
    counters = api.counters()
    return {
        "bytes of memory": facts.integer("used_memory"),
        "keys": api.redis.dbsize(),
        "clients": facts.integer("connected_clients"),
        "jobs queued": sum(queue.size for queue in api.queues(usage.MOST_QUEUES)),
        "jobs scheduled": counters.scheduled_size,
        "jobs to retry": counters.retry_size,
        "dead jobs": counters.dead_size,
        "jobs processed": counters.processed,
    }


def _show(look: Look, sample: Sample | None, *, no_monitor: bool) -> None:
    if sample is not None:
        rows = [
            (each.name, f"{each.rate:,.1f}", f"± {each.error:,.1f}") for each in look.parts or []
        ]
        end = "" if sample.whole else f" (of {traffic.MOST:,} commands)"
        _table(
            f"commands a second, in {sample.seconds:.2g} s{end}",
            [Column("SENT BY"), Column("RATE", right=True), Column("ERROR", right=True)],
            rows,
        )
    elif not no_monitor:
        output.line("the user of Redis may not use MONITOR: nothing is known by part of jobd")
    _table(
        f"the server's time, in {look.seconds:.2g} s",
        [
            Column("COMMAND", gives=True),
            Column("RATE", right=True),
            Column("µS", right=True),
            Column("SHARE", right=True),
        ],
        (
            (each.command, f"{each.rate:,.1f}", f"{each.took * 1e6:,.1f}", f"{each.share:.2%}")
            for each in look.commands[:_COMMANDS]
        ),
    )
    if look.families is None:
        output.line("the user of Redis may not use MEMORY USAGE and RANDOMKEY")
    else:
        _table(
            "memory",
            [
                Column("KEYS OF", gives=True),
                Column("KEYS", right=True),
                Column("BYTES", right=True),
                Column("ERROR", right=True),
            ],
            (
                (
                    each.name,
                    f"{each.keys:,}",
                    size(each.size),
                    f"± {size(each.error)}" if each.error else "",
                )
                for each in look.families
            ),
        )
    _table(
        f"growth, in {look.seconds:.2g} s",
        [Column("OF"), Column("NOW", right=True), Column("A SECOND", right=True)],
        ((each.name, f"{each.now:,}", f"{each.rate:+,.1f}") for each in look.growth),
    )


def _table(heading: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    output.line(heading)
    if not output.table(columns, rows):
        output.line("nothing", dim=True)
    output.line("")
