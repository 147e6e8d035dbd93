"""The entries of an application: the schedules of its jobs and of the configuration, with their
payloads. Client middleware has no part in them: a tick is pushed where the application is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobd.errors import ArgumentError, JobdError, UnknownJobError
from jobd.jobs.checks import check
from jobd.jobs.registry import Definition, Registry
from jobd.jobs.signatures import Parameters, identity_by_name
from jobd.schedules import entry as entries
from jobd.schedules.entry import Entry
from jobd.schedules.schedule import Schedule, Written, names
from jobd.settings.daemon import Config
from jobd.wire import attachments, payload
from jobd.wire.options import DEFAULTS, merged

MOST = 5000
"""Most schedules of one application."""

DAEMON_APP = "jobs"
"""The owner of what a daemon without an application has in its configuration."""


class Problem(NamedTuple):
    """A schedule that cannot be used."""

    name: str
    error: str


def owner_of(config: Config) -> str:
    """To which application the schedules of a daemon belong."""
    return config.app or " ".join(config.require) or DAEMON_APP


def entries_of(registry: Registry, config: Config) -> tuple[list[Entry], list[Problem]]:
    """The entries of an application, and what is wrong with others."""
    app, found, problems = owner_of(config), dict[str, Entry](), list[Problem]()
    wanted: list[tuple[str, Written | tuple[Definition, Schedule]]] = []
    for definition in registry.all():
        called = names(definition.name, definition.schedules)
        wanted += [
            (name, (definition, one))
            for name, one in zip(called, definition.schedules, strict=True)
        ]
    wanted += [(one.schedule.name or one.job, one) for one in config.periodic]
    for name, source in wanted:
        try:
            if isinstance(source, Written):
                made = _from_configuration(app, name, source, registry, config.max_payload)
            else:
                definition, schedule = source
                made = _entry(
                    app, name, definition, schedule, definition.options, config.max_payload
                )
            if name in found:
                raise ArgumentError("two schedules have this name; give each a name=...")
            if len(found) == MOST:
                raise ArgumentError(f"an application may have {MOST:,} schedules")
            found[name] = made
        except JobdError as error:
            problems.append(Problem(name, str(error)))
    return list(found.values()), problems


def _from_configuration(
    app: str, name: str, written: Written, registry: Registry, limit: int
) -> Entry:
    try:
        definition = registry.lookup(written.job)
    except UnknownJobError:
        definition = None
    if definition is not None and not written.foreign:
        options = merged(definition.options, written.options)
        return _entry(app, name, definition, written.schedule, options, limit)
    options = merged(DEFAULTS, written.options)
    return _made(app, name, written.job, written.schedule, options, None, limit, written.foreign)


def _entry(
    app: str,
    name: str,
    definition: Definition,
    schedule: Schedule,
    options: Mapping[str, object],
    limit: int,
) -> Entry:
    parameters = Parameters(definition)
    parameters.check(schedule.args, schedule.kwargs)
    return _made(app, name, definition.name, schedule, options, parameters, limit)


def _made(
    app: str,
    name: str,
    job: str,
    schedule: Schedule,
    options: Mapping[str, object],
    parameters: Parameters | None,
    limit: int,
    foreign: bool = False,
) -> Entry:
    if "debounce" in options:
        raise ArgumentError(
            f"{job}: debounce puts off a push that comes again, and a tick does not"
        )
    overlap = schedule.rules.overlap or ("allow" if foreign else "skip")
    if foreign and overlap == "skip":
        raise ArgumentError(
            f'{job}: overlap = "skip" needs a worker that says when the job has ended, which '
            "a foreign one does not"
        )
    made = payload.create(job, schedule.args, schedule.kwargs, options, jid="", now=0.0)
    del made["jid"], made["created_at"]
    check(made, None if parameters is None else parameters.names)
    identity = identity_by_name if parameters is None else parameters.identity
    attachments.attach(made, None, 0.0, identity)
    attached = attachments.read(made.pop(attachments.FIELD, None))
    kept = attachments.Attachments(attachments.VERSION, lock=attached.lock, result=attached.result)
    plain = attachments.written(kept)
    if plain is not None:
        made[attachments.FIELD] = plain
    found = Entry(
        app=app,
        name=name,
        job=job,
        queue=str(options["queue"]),
        cron=schedule.line.cron,
        tz=schedule.line.tz,
        every=schedule.line.every,
        catch_up=schedule.rules.catch_up,
        grace=schedule.rules.grace,
        overlap=overlap,
        jitter=schedule.rules.jitter,
        foreign=foreign,
        payload=made,
        expires_in=attached.expires_at,
    )
    tick = entries.job_of(found, 0.0, 0.0)
    if len(tick.raw) > limit:
        raise ArgumentError(
            f"the payload of {job} has {len(tick.raw):,} bytes, but max_payload is {limit:,}"
        )
    return found


def classes_of(registry: Registry) -> Sequence[str]:
    """The class names that a worker knows."""
    return [definition.name for definition in registry.all()]
