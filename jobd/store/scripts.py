"""The Lua scripts: one state transition each.

Each ``lua/NAME.lua`` starts with a comment that describes its KEYS, its ARGV and what it returns.
Those of clients and daemons, except PUSH, CLAIM, FILE, BEAT and LOOK, are idempotent: sent twice,
they change nothing the second time. PUSH stores again what is not unique; CLAIM and FILE take more
jobs, under sequence numbers that must be new; BEAT and LOOK take more signals.
Scripts for actions of users can write an entry to the audit log in the same step
(:attr:`Script.audited`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.resources import files

import redis

from jobd.store.protocol import Argument, Reply, pack

_FOLDER = files(__package__) / "lua"


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


_ATTACHMENTS = (
    *("root_of(", "server_time(", "waiting(", "fits("),
    *("hold(", "put_back(", "cancelled(", "settled("),
)
_WORKFLOWS = (
    *("ended(", "moved_on(", "came_back(", "kept_out("),
    *("put_back(", "cancelled(", "workflow_at("),
)
_PRELUDES = {
    "attachments": _ATTACHMENTS,
    "moves": ("moved_on(", "came_back(", "kept_out(", "is_elsewhere(", "put_back("),
    "batches": _ATTACHMENTS,
    "pushing": ("push_attached(",),
    "workflows": _WORKFLOWS,
    "simple_ends": ("simply_ended(",),
    "cancelling": ("cancelled(", "requests_of(", "to_cancel("),
    "counting": ("count(",),
    "find_queued": ("find_queued(",),
    "lease_clock": ("lease_clock(", "forget_owner("),
    "places": ("put_back(",),
    "trash": ("put_in_trash(",),
    "reserve": ("reserve(",),
    "trimming": ("trim_dead(",),
}
"""Preludes, in their order, and the calls by which a script needs them."""

_OF_FEW = {"batches": ("batch", "batch_at("), "workflows": ("node", "workflow_at(")}
"""Those that attachments.lua runs when it meets a job with the attachment, unless the script itself
calls them."""


def _prelude(name: str, script: str) -> str:
    source = _read(name)
    if name not in _OF_FEW:
        return source
    kind, call = _OF_FEW[name]
    return source if call in script else f"makers.{kind} = function()\n{source}end\n"


_AUDITED = _read("audited")
_PLACE = "-- (the script itself)"


class Script:
    """A Lua script.

    Example:
        >>> RENEW.name, len(RENEW.digest)
        ('renew', 40)
    """

    def __init__(self, name: str) -> None:
        source = _read(name)
        preludes = [
            _prelude(prelude, source)
            for prelude, calls in _PRELUDES.items()
            if any(call in source for call in calls)
        ]
        self.name = name
        self._set_source("".join([*preludes, source]))

    def _set_source(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def audited(self) -> Script:
        """The script with an entry in the audit log in the same step; see ``audited.lua``."""
        made = Script(self.name)
        made._set_source(_AUDITED.replace(_PLACE, self.source))
        return made

    def pack(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bytes:
        """The call as protocol bytes, for a pipeline on a :class:`~jobd.store.connection.Wire`."""
        return pack("EVALSHA", self.digest, len(keys), *keys, *arguments)

    def load(self) -> bytes:
        """``SCRIPT LOAD`` as protocol bytes."""
        return pack("SCRIPT", "LOAD", self.source)

    def __call__(
        self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        """Call the script; loads it first if the server does not have it.

        Raises:
            redis.RedisError: the server refused, or did not reply.
        """
        try:
            return client.evalsha(self.digest, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            # The server was restarted. NOSCRIPT means that nothing was executed.
            client.script_load(self.source)
            return client.evalsha(self.digest, len(keys), *keys, *arguments)


CLAIM = Script("claim")
FILE = Script("file")
ACKNOWLEDGE = Script("acknowledge")
RETRY = Script("retry")
BURY = Script("bury")
DISCARD = Script("discard")
SNOOZE = Script("snooze")
END = Script("end")
LOCK = Script("lock")
UNLOCK = Script("unlock")
PUSH = Script("push")
ADD_TO_BATCH = Script("add_to_batch")
CLOSE_BATCH = Script("close_batch")
MEND_BATCH = Script("mend_batch")
EXPIRE_BATCH = Script("expire_batch")
ABANDON_BATCH = Script("abandon_batch")
DELETE_BATCH = Script("delete_batch")
DEPART = Script("depart")
FREE = Script("free")
LOOK_LATER = Script("look_later")
GIVE_BACK = Script("give_back")
REGISTER = Script("register")
RELEASE = Script("release")
RENEW = Script("renew")
RECOVER = Script("recover")
PROMOTE = Script("promote")
LIST_WORK = Script("list_work")
BEAT = Script("beat")
LOOK = Script("look")
SHOW_STACKS = Script("show_stacks")
PROGRESS = Script("progress")
ANNOTATE = Script("annotate")
LEAD = Script("lead")
SCHEDULES = Script("schedules")
TICK = Script("tick")
STORE_WORKFLOW = Script("store_workflow")
ADVANCE = Script("advance")
ADD_STEPS = Script("add_steps")
LOSE_STEPS = Script("lose_steps")
END_DEAD = Script("end_dead")
OUTCOMES = Script("outcomes")

# Actions and queries of users.
REMOVE = Script("remove")
REPLACE = Script("replace")
EDIT = Script("edit")
KILL = Script("kill")
ADD_DEAD = Script("add_dead")
RESCHEDULE = Script("reschedule")
UNQUEUE = Script("unqueue")
WITHDRAW = Script("withdraw")
SIFT = Script("sift")
MOVE = Script("move")
MOVE_ALL = Script("move_all")
CLEAR = Script("clear")
RESTORE = Script("restore")
PURGE = Script("purge")
PAUSE = Script("pause")
SIGNAL = Script("signal")
CANCEL = Script("cancel")
ALTER = Script("alter")
PORTION = Script("portion")
SCAN = Script("scan")
SEEK = Script("seek")
OLDEST = Script("oldest")
NEWEST = Script("newest")
HASHES = Script("hashes")
FIND_ENTRIES = Script("find_entries")
LOCATE = Script("locate")
RESET = Script("reset")
ATTEMPT = Script("attempt")
END_SESSION = Script("end_session")
DEPLOY = Script("deploy")
TROUBLE = Script("trouble")
CANCEL_WORKFLOW = Script("cancel_workflow")
RETRY_STEPS = Script("retry_steps")

# Sent by workers on their dedicated connection, and loaded when it connects.
OF_A_WORKER = (
    *(CLAIM, FILE, ACKNOWLEDGE, END, RETRY, BURY, DISCARD, SNOOZE, GIVE_BACK),
    *(REGISTER, RELEASE),
)


@cache
def _names() -> dict[str, str]:
    known = [one for one in globals().values() if isinstance(one, Script)]
    return {made.digest: one.name for one in known for made in (one, one.audited)}


def name_of(digest: str) -> str | None:
    """The name of the script with this digest; None if it is not one of ours.

    >>> name_of(RENEW.digest), name_of(PAUSE.audited.digest), name_of("0" * 40)
    ('renew', 'pause', None)
    """
    return _names().get(digest)
