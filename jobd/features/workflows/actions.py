"""Reading workflows, and acting on them: the scripts, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import redis

from jobd.ambient import clock
from jobd.errors import ArgumentError, ConflictError, PayloadError
from jobd.features.workflows.record import SUMMARY, Summary, WorkflowInfo, info_of, summary_of
from jobd.graphs.plan import Ready
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.protocol import Argument
from jobd.store.scripts import Script
from jobd.wire import transitions

BATCH = 100
"""Workflows, or steps, in one round trip."""

_FAILED = frozenset(b"fxcFXC")
"""Letters of steps that have failed."""

Call = Callable[[Script, list[str], list[Argument]], int]
"""Calls a script: with an entry in the audit log, or without."""


def info(client: redis.Redis, keys: Keys, ref: str) -> WorkflowInfo | None:
    """A workflow with its steps; None if there is none.

    Raises:
        redis.RedisError: the server does not answer.
    """
    key = keys.workflow(ref)
    with client.pipeline(transaction=False) as pipe:
        pipe.hkeys(key)
        pipe.get(keys.workflow_steps(ref))
        there, letters = pipe.execute()
    letters = letters or b""
    # Without payloads, and without results: these may be large.
    failed = {b"r:%d" % number for number, letter in enumerate(letters) if letter in _FAILED}
    names = [name for name in there if name[:2] in (b"g:", b"s:") or name in failed]
    names += [b"first", *(name.encode() for name in SUMMARY)]
    values = cast("list[bytes | None]", client.hmget(key, names))
    known = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return info_of(ref, known, letters)


def summaries(client: redis.Redis, keys: Keys, refs: Sequence[str]) -> list[Summary]:
    """Workflows without their steps; those that are gone are left out."""
    found: list[Summary] = []
    for first in range(0, len(refs), BATCH):
        part = refs[first : first + BATCH]
        with client.pipeline(transaction=False) as pipe:
            for ref in part:
                pipe.hmget(keys.workflow(ref), list(SUMMARY))
            answers = pipe.execute()
        for ref, values in zip(part, answers, strict=True):
            names = (name.encode() for name in SUMMARY)
            one = summary_of(ref, dict(zip(names, values, strict=True)))
            if one is not None:
                found.append(one)
    return found


def cancel(call: Call, keys: Keys, ref: str) -> bool:
    """Cancel a workflow; returns whether there was something to cancel. A keeper cancels the jobs
    that wait or run.

    Raises:
        KeyError: there is none.
    """
    told = call(scripts.CANCEL_WORKFLOW, [keys.queues], [ref])
    if told < 0:
        raise KeyError(ref)
    return told > 0


def retry(client: redis.Redis, call: Call, keys: Keys, ref: str) -> int:
    """Push all steps again that have failed for good and keep others from running; returns how
    many.

    Raises:
        KeyError: there is no such workflow.
        ConflictError: it was cancelled, or the jobs of all those steps are lost.
    """
    found = info(client, keys, ref)
    if found is None:
        raise KeyError(ref)
    letters = cast("bytes | None", client.get(keys.workflow_steps(ref))) or b""
    numbers = [number for number, letter in enumerate(letters.decode()) if letter in "fxc"]
    if found.summary.cancelled and not any(found.steps[one].role == "undo" for one in numbers):
        raise ConflictError(f"workflow {ref} was cancelled, so its steps cannot be tried again")
    pushed = known = 0
    for first in range(0, len(numbers), BATCH):
        part = numbers[first : first + BATCH]
        names = [f"p:{number}" for number in part]
        jobs = cast("list[bytes | None]", client.hmget(keys.workflow(ref), names))
        words: list[Argument] = [ref]
        for number, stored in zip(part, jobs, strict=True):
            if stored is not None and (again := _again(stored)) is not None:
                words += (number, stored, again)
                known += 1
        told = call(scripts.RETRY_STEPS, [keys.queues, keys.dead], words)
        if told == -1:
            raise KeyError(ref)
        pushed += max(0, told)
    if numbers and not known:
        raise ConflictError(
            f"the jobs of the steps of workflow {ref} that have failed are lost, so they cannot be "
            "pushed again"
        )
    return pushed


def _again(stored: bytes) -> bytes | None:
    """The job of a step that has failed, for its next push; None if nobody can read it."""
    try:
        _, jid, _, keep, raw = stored.split(b"\n", 4)
        queue, raw = transitions.with_retry_by_hand(raw, clock.now())
        raw = transitions.with_fields(raw, {"enqueued_at": None})
        seconds = float(keep) if keep else None
        return Ready(raw, jid.decode(), queue, None, seconds).stored
    except (ValueError, PayloadError, ArgumentError):
        return None
