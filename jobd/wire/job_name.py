"""What a job is called in messages and logs: its class and its jid, read from its payload.

For all that knows a job only by its bytes: the master, which has them on the scoreboard, the keeper
and the workers. A payload that cannot be read has no name, and is never an error here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from jobd.text.masking import mask
from jobd.text.printable import cut, text_of

MOST = 5
"""Jobs that one message names."""

_LONGEST_CLASS = 200
_LONGEST_JID = 100
_LONGEST_ARGUMENTS = 200


class _Named(msgspec.Struct, gc=False):
    class_: str = msgspec.field(name="class")
    jid: Any = ""


class _Given(msgspec.Struct, gc=False):
    args: msgspec.Raw = msgspec.Raw()
    kwargs: msgspec.Raw = msgspec.Raw()
    encrypt: Any = None


_decode = msgspec.json.Decoder(_Named).decode
_decode_given = msgspec.json.Decoder(_Given).decode


class JobName(NamedTuple):
    """
    >>> str(JobName("shop.welcome", "3bbf57e932d07d6bd20b5270"))
    'shop.welcome 3bbf57e932d07d6bd20b5270'
    """

    class_: str
    jid: str

    def __str__(self) -> str:
        return f"{self.class_} {self.jid}" if self.jid else self.class_


def job_name(payload: bytes) -> JobName | None:
    """The name of the job in *payload*; None if it cannot be read.

    >>> job_name(b'{"args":[1],"class":"shop.welcome","jid":"3bbf"}')
    JobName(class_='shop.welcome', jid='3bbf')
    """
    try:
        named = _decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    jid = "" if named.jid is None else text_of(named.jid, _LONGEST_JID)
    return JobName(cut(named.class_, _LONGEST_CLASS), jid)


def log_fields(payload: bytes) -> dict[str, str]:
    """Fields of a log line about the job in *payload* that is written outside of it."""
    name = job_name(payload)
    return {} if name is None else {"class": name.class_, "jid": name.jid}


def listed(names: Sequence[object], total: int = 0) -> str:
    """Jobs, or what else has a name, in one line.

    Args:
        total: how many there are, if *names* are not all of them.

    >>> listed([JobName("mail", "1"), None]), listed([JobName("mail", "1")], 7), listed([])
    ('mail 1, an unknown job', 'mail 1 and 6 more', '')
    """
    shown = ["an unknown job" if name is None else str(name) for name in names[:MOST]]
    more = max(total, len(names)) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def brief(payload: bytes) -> bytes:
    """A payload with the name of this one and nothing else; empty if it has none."""
    name = job_name(payload)
    return b"" if name is None else msgspec.json.encode({"class": name.class_, "jid": name.jid})


def shown_arguments(payload: bytes) -> str:
    """The arguments of the job in *payload*, for a person who looks at what runs: bounded, without
    passwords of URLs, and nothing of what is encrypted."""
    try:
        given = _decode_given(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "unreadable arguments"
    if given.encrypt:
        return "encrypted arguments"
    parts = [bytes(given.args) if given.args else b"[]"]
    if given.kwargs and bytes(given.kwargs) not in (b"{}", b"null"):
        parts.append(bytes(given.kwargs))
    return cut(mask(b" ".join(parts).decode(errors="replace")), _LONGEST_ARGUMENTS)
