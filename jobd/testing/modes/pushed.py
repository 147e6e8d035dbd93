"""``PushedJob``: what a test sees of a push."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from jobd.jobs.inline import Application
from jobd.wire import attachments
from jobd.wire import payload as wire
from jobd.wire.json_value import Array, Object

_short = reprlib.Repr()
_short.maxlevel = 4
_short.maxlist = _short.maxdict = 8
_short.maxstring = _short.maxlong = _short.maxother = 80

_OF_THE_CALL = frozenset({"class", "args", "kwargs", "jid", "queue", "created_at", "enqueued_at"})


def short(value: object) -> str:
    """*value* for a message, in one line that is not too long.

    >>> short("a" * 200)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
    """
    return " ".join(_short.repr(value).split("\n"))


def call_of(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """A call as it stands in a program.

    >>> call_of("shop.welcome", [7], {"loud": True})
    'shop.welcome(7, loud=True)'
    """
    named = (f"{key}={short(value)}" for key, value in kwargs.items())
    return f"{name}({', '.join(itertools.chain(map(short, args), named))})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PushedJob:
    """A job that was pushed, as Redis would have stored it.

    Attributes:
        name: its class in the payload; of a function, module and name.
        args, kwargs: the arguments as the job receives them, after JSON.
        jid: its id, which the push has returned.
        queue: the queue it was pushed to.
        at: when it is due (seconds since 1970); None for at once.
        options: the other fields of the payload: ``retry``, ``tags`` and so on; what hangs on the
            job is in the field ``jobd``.
        created_at: when it was pushed (seconds since 1970).
        raw: the bytes for Redis.
    """

    name: str
    args: Array
    kwargs: Object
    jid: str
    queue: str
    at: float | None
    options: Object
    created_at: float
    raw: bytes
    attached: attachments.Attachments
    place: tuple[str, str]
    app: Application = field(repr=False)

    @classmethod
    def of(cls, raw: bytes, at: float | None, app: Application, place: tuple[str, str]) -> Self:
        """The job with the payload *raw*.

        Args:
            app: has its code, if anything here has.
            place: which Redis it was pushed to, by URL and prefix.
        """
        fields = wire.decode(raw)
        return cls(
            name=fields["class"],
            args=fields["args"],
            kwargs=fields.get("kwargs", {}),
            jid=fields["jid"],
            queue=fields["queue"],
            at=at,
            options={key: fields[key] for key in fields if key not in _OF_THE_CALL},
            created_at=fields["created_at"],
            raw=raw,
            attached=attachments.read(fields.get(attachments.FIELD)),
            place=place,
            app=app,
        )

    def __str__(self) -> str:
        due = "" if self.at is None else f", due in {self.at - self.created_at:,.6g} s"
        return f"{call_of(self.name, self.args, self.kwargs)} to queue {self.queue!r}{due}"

    def __repr__(self) -> str:
        return f"<{self} jid={self.jid}>"
