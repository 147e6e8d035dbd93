"""``jobctl doctor``: all checks, what they have found, and an exit code for cron."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import click
import msgspec

from jobctl import options
from jobctl.codes import Code
from jobctl.daemon import limit
from jobctl.data import output
from jobctl.data.connection import connected_to
from jobctl.data.frame import Command
from jobctl.doctor import configuration, host, unit
from jobd.api.diagnosis import findings, fleet, history, locks, permissions, server
from jobd.api.diagnosis.findings import Check, Finding, Severity
from jobd.api.entry import Api
from jobd.errors import ConfigError, JobdError, RefusedError, UnavailableError
from jobd.settings.load import Reading, find_file, read
from jobd.store.server import identify
from jobd.text.counting import counted

T = TypeVar("T")

_TRIPS = 10

TABLES: tuple[tuple[Check[Any], ...], ...] = (
    configuration.CHECKS,
    host.CHECKS,
    unit.CHECKS,
    server.CHECKS,
    history.CHECKS,
    history.FORECASTS,
    permissions.CHECKS,
    fleet.CHECKS,
    locks.CHECKS,
)
"""All checks, for the manual."""

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: None}
_ORDER = list(Severity)


class Diagnosis(msgspec.Struct, frozen=True):
    """The answer as JSON: *checks* is how many were made."""

    checks: int
    errors: int
    warnings: int
    notes: int
    findings: list[Finding]


class _Doctor:
    """Makes the checks, one area after the other."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.checks = 0

    def run(self, checks: Iterable[Check[T]], facts: T) -> None:
        """Make these checks."""
        table = tuple(checks)
        self.checks += len(table)
        # Texts that can be translated are not encoded as JSON.
        self.found += [replace(each, text=str(each.text)) for each in findings.run(table, facts)]

    def diagnosis(self) -> Diagnosis:
        """All findings, the worst first."""
        counts = Counter(each.severity for each in self.found)
        self.found.sort(key=lambda each: _ORDER.index(each.severity))
        errors, warnings, notes = (counts[severity] for severity in Severity)
        return Diagnosis(self.checks, errors, warnings, notes, self.found)


class _Command(Command):
    shared = options.ALL


@click.command(cls=_Command)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=60),
    default=2.0,
    metavar="N",
    help="Watch the growth of Redis for N seconds.  [default: 2]",
)
@click.pass_context
def doctor(context: click.Context, seconds: float) -> int:
    """Check the daemon of this host, its unit and configuration, Redis, and the fleet.

    Each finding has a severity and what to do. The exit code is 0 if all is well, 10 if there are
    warnings, and 1 if there are errors; what could not be checked is a note. Nothing is changed,
    and no command that it sends keeps Redis busy for long.
    """
    made = _Doctor()
    file, reading = _configuration(context)
    if file is not None or reading.problems:
        made.run(configuration.CHECKS, configuration.look(reading, file))
    here = host.look(reading.config, options.given(context, "pidfile"), file)
    made.run(host.CHECKS, here)
    found = unit.look(here.running, here.pid)
    if found.name:
        made.run(unit.CHECKS, found)
    try:
        _redis(made, connected_to(reading), seconds)
    except ConfigError as error:
        made.found.append(_failed("redis.address", error, _OF_ADDRESS))
    except RefusedError as error:
        made.found.append(_failed("redis.reachable", error, _OF_REFUSAL))
    except UnavailableError as error:
        made.found.append(_failed("redis.reachable", error, _OF_SILENCE))
    answer = made.diagnosis()
    if options.wants_json(context):
        output.record(answer)
    else:
        _show(answer)
    if answer.errors:
        return Code.FAILED
    return Code.TROUBLE if answer.warnings else Code.DONE


def _configuration(context: click.Context) -> tuple[str | None, Reading]:
    flags = {name: options.given(context, name) for name in ("redis", "prefix")}
    with limit.within(limit.FILES, "cannot read the configuration"):
        file = find_file(options.given(context, "config"), os.environ)
        return file, read(file, os.environ, flags)


def _redis(made: _Doctor, api: Api, seconds: float) -> None:
    made.checks += 2
    found = identify(api.redis)
    try:
        found.require()
    except UnavailableError as error:
        made.found.append(_failed("redis.version", error, _OF_VERSION))
        return
    before = _refusable(made, "redis", lambda: server.gather(api.redis, trips=_TRIPS))
    if before is not None:
        made.run(server.CHECKS, before)
        if before.loading:
            return  # it refuses everything else
    made.run(history.CHECKS, api)
    made.run(permissions.CHECKS, api)
    facts = _refusable(made, "fleet", lambda: fleet.gather(api))
    if facts is not None:
        made.run(fleet.CHECKS, facts)
        made.run(locks.CHECKS, api)
    if before is not None and seconds:
        made.run(history.FORECASTS, history.watch(api, seconds))


def _refusable(made: _Doctor, area: str, gather: Callable[[], T]) -> T | None:
    """What is gathered; None, and a note, where the user of Redis has no permission for it."""
    try:
        return gather()
    except RefusedError as error:
        made.found.append(findings.not_checked(area, error))
        return None


_OF_ADDRESS = "the manual, configuration.md, has the forms of `redis` (--redis)"
_OF_VERSION = "let `redis` in the configuration (--redis) lead to a server that is as jobd needs it"
_OF_REFUSAL = "compare the user and the password in `redis` (--redis) with those that Redis knows"
_OF_SILENCE = (
    "on its host: see that it runs, and its log; compare `redis` in the configuration (--redis) "
    "with where it listens"
)


def _failed(name: str, error: JobdError, advice: str) -> Finding:
    text = str(error)
    return Finding(name, Severity.ERROR, f"{text[0].upper()}{text[1:]}.", advice)


def _show(answer: Diagnosis) -> None:
    for each in answer.findings:
        output.line(f"{each.severity.upper():<8} {each.text}", fg=_COLOURS[each.severity])
        if each.advice:
            output.line(f"         {each.advice}", dim=True)
    numbers = [
        counted(answer.errors, "error") if answer.errors else "",
        counted(answer.warnings, "warning") if answer.warnings else "",
        counted(answer.notes, "note") if answer.notes else "",
    ]
    verdict = ", ".join(filter(None, numbers)) or "all is well"
    output.line(f"{counted(answer.checks, 'check')}: {verdict}")
