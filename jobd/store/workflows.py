"""Pushing workflows: small ones in one call, large ones in portions that are put aside first.

Each call is packed here, and sent by the transports, which know how. What was put aside is complete
before the script that stores the workflow uses it, and expires if that never comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobd.ambient import chance
from jobd.graphs.plan import Plan
from jobd.store.keys import Keys
from jobd.store.protocol import Argument, pack
from jobd.store.scripts import ADVANCE, STORE_WORKFLOW, Script

PORTION = 1_048_576
"""Bytes of fields in one call."""

STAGED = 3600
"""Seconds for which portions are kept that nobody uses."""


class Storing:
    """The calls that store one workflow.

    Attributes:
        portions: to be sent first, each with how many replies it has.
        script, call: then.
    """

    def __init__(self, keys: Keys, plan: Plan) -> None:
        staged = keys.staged(chance.token(12))
        fields = plan.fields()
        words: list[Argument] = [word for pair in fields.items() for word in pair]
        large = sum(len(name) + len(value) for name, value in fields.items()) > PORTION
        self.portions = list(_portions(staged, words)) if large else []
        self.script: Script = STORE_WORKFLOW
        places = [keys.queues, keys.workflow(plan.id), keys.workflow_steps(plan.id), staged]
        places += [keys.workflows, keys.departed]
        about: list[Argument] = [plan.id, plan.total, int(large), repr(plan.about.created_at)]
        self.call = STORE_WORKFLOW.pack(places, about if large else [*about, *words])


def advancing(keys: Keys, workflow: str) -> tuple[Script, bytes]:
    """The call that goes on with a workflow which has more to do than one script does."""
    return ADVANCE, ADVANCE.pack([keys.queues], [workflow])


def adding(
    keys: Keys, plan: Plan, step: int, ordinal: int, joint: int | None
) -> tuple[list[str], list[Argument]]:
    """KEYS and ARGV of the script that adds the steps of *plan* after a running one.

    Args:
        ordinal: which addition of that step this is, from 1.
        joint: after which the steps go on that have waited for it; None if they do not wait.
    """
    roots = ",".join(map(str, plan.roots))
    arguments: list[Argument] = [plan.id, step, ordinal, plan.first, len(plan.steps)]
    arguments += ["" if joint is None else joint, roots, plan.undo, plan.size]
    arguments += [word for pair in plan.fields().items() for word in pair]
    return [keys.queues], arguments


def _portions(key: str, words: list[Argument]) -> Iterator[tuple[bytes, int]]:
    part: list[Argument] = []
    room = PORTION
    for first in range(0, len(words), 2):
        name, value = words[first], words[first + 1]
        part += (name, value)
        room -= len(value) if isinstance(value, bytes) else 0
        if room <= 0:
            yield _portion(key, part)
            part, room = [], PORTION
    if part:
        yield _portion(key, part)


def _portion(key: str, words: list[Argument]) -> tuple[bytes, int]:
    return pack("HSET", key, *words) + pack("EXPIRE", key, STAGED), 2
