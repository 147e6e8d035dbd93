"""The checks of a payload between the middleware and its encoding, and what they add to it."""

from __future__ import annotations

from collections.abc import Sequence

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.jobs.propagation import propagation
from jobd.jobs.signatures import Parameters, identity_by_name
from jobd.wire import attachments
from jobd.wire import payload as wire
from jobd.wire.arguments import check_arguments
from jobd.wire.attachments import Pushed
from jobd.wire.options import KNOWN
from jobd.wire.ruby_json import as_ruby

_USUAL = 6
"""Number of fields of a payload without options: retry, queue, args, class, jid, created_at."""


def checked(
    made: wire.Payload, at: float | None, parameters: Parameters | None, changed: bool
) -> tuple[wire.Payload, Pushed | None]:
    """A payload that may be pushed, and what the push has to do beside storing it, if anything.

    Args:
        at: when it is due (s since the epoch), None for now.
        parameters: of the job, if its code is there.
        changed: whether middleware may have changed it.

    Raises:
        ArgumentError: it is invalid.
    """
    if changed:
        made.pop("at", None)
        wire.validate(made)
    check(made, None if parameters is None else parameters.names)
    pushed = None
    if len(made) > _USUAL and not attachments.TRACES.isdisjoint(made):
        identity = identity_by_name if parameters is None else parameters.identity
        pushed = attachments.attach(made, at, clock.now(), identity)
    if propagation.active:
        propagation.inject(made)
    return made, pushed


def check(made: wire.Payload, names: Sequence[str] | None) -> None:
    """Check what JSON and Ruby can carry, and write its numbers as Ruby does.

    Args:
        names: of the parameters, for errors.

    Raises:
        ArgumentError: an argument cannot be carried.
    """
    try:
        spelling = check_arguments(made["args"], made.get("kwargs", {}), names)
    except ArgumentError as error:
        raise ArgumentError(f"{made['class']}: {error}") from None
    odd = made.keys() - KNOWN if len(made) > _USUAL else set()
    if spelling:
        odd |= made.keys() & {"args", "kwargs"}
    if odd:
        made.update(as_ruby({key: made[key] for key in odd}))
