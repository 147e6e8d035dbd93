"""The name of a job in messages and logs: its class and jid, read from its payload.

For code that has only the bytes of a job: the master (from the scoreboard), the keeper and the
workers. An unreadable payload has no name; it is not an error here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from jobd.text.masking import mask
from jobd.text.printable import cut, text_of
from jobd.wire.json_value import UNREADABLE, JsonValue

MOST = 5
"""Most jobs that a message names."""

_LONGEST_CLASS = 200
_LONGEST_JID = 100
_LONGEST_ARGUMENTS = 200


class _Named(msgspec.Struct, gc=False):
    class_: str = msgspec.field(name="class")
    jid: JsonValue = ""


class _Given(msgspec.Struct, gc=False):
    args: msgspec.Raw = msgspec.Raw()
    kwargs: msgspec.Raw = msgspec.Raw()
    encrypt: JsonValue = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Named).decode
_decode_given = msgspec.json.Decoder(_Given).decode


class JobName(NamedTuple):
    """Class and jid of a job.

    >>> str(JobName("shop.welcome", "3bbf57e932d07d6bd20b5270"))
    'shop.welcome 3bbf57e932d07d6bd20b5270'
    """

    class_: str
    jid: str

    def __str__(self) -> str:
        return f"{self.class_} {self.jid}" if self.jid else self.class_


def job_name(payload: bytes) -> JobName | None:
    """The name of the job in *payload*; None if the payload cannot be read.

    >>> job_name(b'{"args":[1],"class":"shop.welcome","jid":"3bbf"}')
    JobName(class_='shop.welcome', jid='3bbf')
    """
    try:
        named = _decode(payload)
    except UNREADABLE:
        return None
    jid = "" if named.jid is None else text_of(named.jid, _LONGEST_JID)
    return JobName(cut(named.class_, _LONGEST_CLASS), jid)


def log_fields(payload: bytes) -> dict[str, str]:
    """Log fields that identify the job in *payload*, for lines logged outside the job."""
    name = job_name(payload)
    return {} if name is None else {"class": name.class_, "jid": name.jid}


def listed(names: Sequence[object], total: int = 0) -> str:
    """The names of jobs, or of anything else, in one line.

    Args:
        total: their number, if *names* does not hold all of them.

    >>> listed([JobName("mail", "1"), None]), listed([JobName("mail", "1")], 7), listed([])
    ('mail 1, an unknown job', 'mail 1 and 6 more', '')
    """
    shown = ["an unknown job" if name is None else str(name) for name in names[:MOST]]
    more = max(total, len(names)) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def brief(class_: str, jid: str) -> bytes:
    """A payload that holds only the class and jid of a job.

    >>> brief("shop.welcome", "3bbf")
    b'{"class":"shop.welcome","jid":"3bbf"}'
    """
    named = _encode(_Named(class_, jid))
    if len(named) <= _LONGEST_JID:
        return named
    return _encode(_Named(cut(class_, _LONGEST_CLASS), cut(jid, _LONGEST_JID)))


def shown_arguments(payload: bytes) -> str:
    """The arguments of the job in *payload* for display: truncated, with passwords of URLs masked
    and encrypted arguments left out."""
    try:
        given = _decode_given(payload)
    except UNREADABLE:
        return "unreadable arguments"
    if given.encrypt:
        return "encrypted arguments"
    parts = [bytes(given.args) if given.args else b"[]"]
    if given.kwargs and bytes(given.kwargs) not in (b"{}", b"null"):
        parts.append(bytes(given.kwargs))
    return cut(mask(b" ".join(parts).decode(errors="replace")), _LONGEST_ARGUMENTS)
