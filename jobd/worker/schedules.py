"""Tells Redis the schedules of this version of the application, and the classes that it knows.

One worker of each daemon does, and again now and then: what somebody has deleted comes back. What
an older version tells after a newer one has no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import redis

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError
from jobd.jobs.periodic import classes_of, entries_of, owner_of
from jobd.jobs.registry import Registry
from jobd.schedules import entry as entries
from jobd.schedules.entry import Entry
from jobd.settings.daemon import Config
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.protocol import Argument

INTERVAL = 30.0
"""Seconds between two times."""

KNOWN = 90
"""Seconds for which the classes count as known afterwards."""


class Schedules(Loop):
    """The loop.

    Args:
        since: when this version was started or reloaded (monotonic s).
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, registry: Registry, config: Config, since: float
    ) -> None:
        super().__init__("schedules", client)
        self._client = client
        self._since = since
        self._app = owner_of(config)
        self._classes = classes_of(registry)
        self._entries, problems = entries_of(registry, config)
        for problem in problems:
            self.log.error("schedule_refused", schedule=problem.name, error=problem.error)
        self._warn_of_unknown(config)
        raw = [entries.encode(one) for one in self._entries]
        self._digest = _digest(raw) if raw else ""
        self._raw = raw
        classes = _digest([name.encode() for name in self._classes])
        self._places = [
            keys.periodic,
            keys.periodic_apps,
            keys.classes,
            keys.classes_of(classes),
            keys.periodic_seen,
        ]
        self._fixed: list[Argument] = [self._digest, classes, KNOWN]
        self._older = False

    def _warn_of_unknown(self, config: Config) -> None:
        known = set(self._classes)
        for one in config.periodic:
            if not one.foreign and one.job not in known:
                self.log.warning(
                    "periodic_job_unknown",
                    job=one.job,
                    place=one.place,
                    hint="import the module that defines it (require), or write foreign = true if "
                    "it belongs to a program of another language",
                )

    def turn(self) -> float:
        now, state, known, removed = self._tell("none", [])
        if not known and self._classes:
            now, state, known, removed = self._tell("classes", self._classes)
        if state == b"wanted":
            now, state, known, removed = self._tell("schedules", self._described(float(now)))
        if state == b"stored":
            self.log.info(
                "schedules_stored", app=self._app, schedules=len(self._raw), removed=removed
            )
        if (older := state == b"older") != self._older:
            self._older = older
            if older:
                self.log.info("schedules_superseded", app=self._app)
        return INTERVAL * (0.8 + 0.2 * chance.share())

    def _tell(self, what: str, rest: Sequence[Argument]) -> tuple[bytes, bytes, int, int]:
        age = repr(max(0.0, clock.monotonic() - self._since))
        now, state, known, removed = scripts.SCHEDULES(
            self._client, self._places, [self._app, age, *self._fixed, what, *rest]
        )
        return now, state, known, removed

    def _described(self, now: float) -> list[Argument]:
        found: list[Argument] = []
        for one, raw in zip(self._entries, self._raw, strict=True):
            try:
                due = one.line.after(now)
            except (ArgumentError, OverflowError, ValueError) as error:
                self.log.error("schedule_refused", schedule=one.name, error=str(error))
                continue
            found += (one.id, when(one), repr(due), raw)
        return found


def when(entry: Entry) -> str:
    """What the times of an entry depend on: if it changes, they begin again."""
    return str(entry.line)


def _digest(parts: Sequence[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(4, "big") + part)
    return found.hexdigest()[:16]
