"""Attachments: what hangs on a job beside its call, all in the one payload field ``jobd``.

The field is an object with a version and a key for each kind. Ruby keeps it and ignores it. A
worker that does not know the version or a kind must not run the job without it: :class:`Unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jobd.errors import PayloadError

FIELD = "jobd"
VERSION = 1

EXPIRES_IN = "expires_in"
"""The option from which :func:`attach` makes ``expires_at``."""


class Attachments(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What hangs on one job.

    Attributes:
        v: the version of this layout.
        expires_at: it does not start after this moment (seconds since 1970).
        snoozes: how often it has put itself off since it was pushed.
        aside: how often a worker that does not know one of its attachments has set it aside.
    """

    v: int = VERSION
    expires_at: float | None = None
    snoozes: int = 0
    aside: int = 0


class Unknown(Exception):
    """A newer version of jobd has pushed this job; the text says what is not known here."""


NONE = Attachments()
_KINDS = frozenset(Attachments.__struct_fields__)


def read(value: object) -> Attachments:
    """The attachments in the field of a payload.

    Raises:
        Unknown: of another version, or of a kind that this version does not have.
        PayloadError: no version of jobd has written it.

    >>> read({"v": 1, "snoozes": 2}).snoozes, read(None) is NONE
    (2, True)
    """
    if value is None:
        return NONE
    if type(value) is not dict:
        raise PayloadError(f"the field {FIELD} must be an object, not {type(value).__name__}")
    if value.get("v") != VERSION:
        raise Unknown(f"attachments of version {str(value.get('v'))[:20]}")
    if unknown := sorted(value.keys() - _KINDS):
        raise Unknown(f"attachments of the kind {', '.join(unknown)[:100]}")
    try:
        return msgspec.convert(value, Attachments)
    except msgspec.ValidationError as error:
        raise PayloadError(f"the field {FIELD}: {error}") from None


def attach(payload: dict[str, Any], due: float) -> None:
    """Write what the options of *payload* attach to it into its field, in their place.

    Args:
        due: when the job may start (seconds since 1970).

    >>> payload = {"class": "Add", "expires_in": 60}
    >>> attach(payload, 100.0); payload
    {'class': 'Add', 'jobd': {'v': 1, 'expires_at': 160.0}}
    """
    before = read(payload.get(FIELD))
    expires_at = due + payload.pop(EXPIRES_IN)
    payload[FIELD] = written(msgspec.structs.replace(before, expires_at=expires_at))


def written(attached: Attachments) -> dict[str, Any] | None:
    """The field for a payload; None if nothing hangs on the job.

    >>> written(Attachments(expires_at=9.0)), written(NONE)
    ({'v': 1, 'expires_at': 9.0}, None)
    """
    if attached == NONE:
        return None
    return {"v": VERSION, **msgspec.to_builtins(attached)}


def aside(value: Mapping[str, object]) -> tuple[int, dict[str, object]]:
    """The field of a job that is set aside once more, and how often it has been before."""
    before = value.get("aside")
    times = before if type(before) is int and before >= 0 else 0
    return times, {**value, "aside": times + 1}
