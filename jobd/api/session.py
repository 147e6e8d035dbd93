"""What every part of the data API works with: a connection, the keys, and who is asking.

Whoever changes something on behalf of a person says so once (:meth:`Session.acting_as`). From then
on every change has its entry in the audit log, and what is deleted can be restored for a day.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import redis as redis_py

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError, ConflictError, JobdError
from jobd.jobs.app import App, default
from jobd.jobs.client import Client
from jobd.settings.daemon import Config
from jobd.store.clear import ClearClient
from jobd.store.connection import require_bytes
from jobd.store.keys import Keys
from jobd.store.protocol import Argument, Reply
from jobd.store.scripts import Script
from jobd.text.translatable import Text

KEPT = 86_400
"""Seconds that the trash keeps what was deleted."""

Source = str | redis_py.Redis | Client | None
"""Where Redis is: a URL, a client of Redis, a :class:`jobd.Client`, or None for the one with which
the application pushes, by default that of :func:`jobd.configure`."""


class Session:
    """A connection to one installation. Safe to share between threads, and to carry across a fork.

    Args:
        source: where Redis is.
        prefix: of every key; default that of the client, else ``$JOBD_PREFIX``, else none.
        dead_max_jobs: size of the dead set, which keeps one less; the daemon's setting of the name.
        dead_timeout: seconds that the dead set keeps a job; the daemon's setting of the name.
        app: whose jobs are known and whose death handlers are told.

    Attributes:
        last_ref: id of the last action in somebody's name, for :class:`jobd.api.Trash`; of use
            where the object that :meth:`acting_as` returned is in one hand.

    Raises:
        ArgumentError: the client of Redis decodes replies; jobs are bytes.
        ConfigError: the URL is not understood.
    """

    def __init__(
        self,
        source: Source = None,
        prefix: str | None = None,
        *,
        dead_max_jobs: int | None = None,
        dead_timeout: float | None = None,
        app: App = default,
    ) -> None:
        if source is None:
            client = app.client
        elif isinstance(source, Client):
            client = source
        elif isinstance(source, str):
            client = Client(source, prefix)
        else:
            client = Client(None, prefix, source)
        self.redis = ClearClient(client.redis)
        prefix = client.prefix if prefix is None else prefix
        require_bytes(client.redis, "the data API")
        self.keys = Keys(prefix)
        defaults = Config()
        self.dead_max_jobs = defaults.dead_max_jobs if dead_max_jobs is None else dead_max_jobs
        self.dead_timeout = defaults.dead_timeout if dead_timeout is None else dead_timeout
        self.app = app
        self.who = ""
        self.keeps_deleted = False
        self.last_ref = ""

    def acting_as(self, who: str, *, trash: bool = True) -> Self:
        """The same, for changes by *who*: they are in the audit log.

        Args:
            who: a name for people, e.g. that of the user who is logged in.
            trash: keep what is deleted, and where killed jobs were, for a day.

        Raises:
            ArgumentError: *who* is empty.

        Example:
            >>> api.acting_as("alice").dead.clear()  # doctest: +SKIP
            17
        """
        if not who:
            raise ArgumentError("acting_as needs a name: who is it that makes the changes?")
        other = copy.copy(self)
        other.who, other.keeps_deleted, other.last_ref = who, trash, ""
        return other


def session_or_default(api: Session | None) -> Session:
    """*api*, or one on the client that :func:`jobd.configure` has set up."""
    return Session() if api is None else api


class Change:
    """One change by somebody, in one step or in many.

    Args:
        name: what is done, e.g. ``delete``.
        target: to what: ``queue:NAME``, the name of a set, or the identity of a process.
        ref: of an action that goes on; a new one by default.

    Attributes:
        ref: its id, in the audit log and in the trash.
        kept: how many jobs have to stay where they are.
        keeps: what keeps the first of them; None if there is none.
    """

    def __init__(self, session: Session, name: str, target: str, ref: str | None = None) -> None:
        self._session = session
        self.kept = 0
        self.keeps: JobdError | None = None
        self.name = name
        self.target = target
        # Begins with the time (µs), so that ids are in the order of the actions.
        self.ref = ref or f"{int(clock.now() * 1e6):x}-{chance.token(4)}"
        if session.who:
            session.last_ref = self.ref

    def keep(self, count: int, error: JobdError) -> None:
        """Note that *error* keeps so many jobs where they are."""
        self.kept += count
        self.keeps = self.keeps or error

    def call(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """Run *script*, with its entry in the audit log if somebody is acting."""
        session = self._session
        if not session.who:
            return script(session.redis, keys, arguments)
        about = (self.ref, session.who, self.name, self.target)
        return script.audited(session.redis, [*keys, session.keys.audit], [*arguments, *about])

    def call_undoable(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        *,
        went_to: str = "",
    ) -> Reply:
        """Run a script that begins with the keys and arguments of ``trash.lua``.

        Raises:
            ConflictError: the id of this action is that of another deletion; nothing was changed.
        """
        session = self._session
        trash, ref = session.keys.trash, self.ref
        places = (trash, session.keys.trashed(ref), session.keys.trashed_jobs(ref))
        kept = ref if session.keeps_deleted else ""
        about = (kept, KEPT, session.who, self.name, self.target, went_to)
        result = self.call(script, [*places, *keys], [*about, *arguments])
        if result == -1:
            raise ConflictError(
                Text(
                    "%(ref)s is the id of another deletion: by another user, of another kind or "
                    "from another place. Nothing was changed; start again, without an id.",
                    ref=ref,
                )
            )
        return result
