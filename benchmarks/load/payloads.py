"""Payloads as a client stores them, written without jobd: older commits are measured with them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence


def payload(name: str, args: Sequence[object], *, created: float, queued: bool) -> bytes:
    """A job with default options and a new id; *created* is in seconds since 1970, and *queued* is
    False for the schedule."""
    fields: dict[str, object] = {
        "retry": True,
        "queue": "default",
        "args": args,
        "class": name,
        "jid": secrets.token_hex(12),
        "created_at": created,
    }
    if queued:
        fields["enqueued_at"] = created
    return json.dumps(fields, separators=(",", ":")).encode()
