"""Sanitizing of text that leaves the process: valid UTF-8, of bounded length, safe to display.

Text from jobs, threads, errors and other programs may be a file name that is not UTF-8 (a lone
surrogate, which no encoder accepts), thirty megabytes long, a terminal escape sequence, a line
break followed by a forged line, or an object whose ``__str__`` raises. None of that may end a
process, lose a message or reach a terminal, so everything that is sent, logged or printed passes
through these functions.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import msgspec

from jobd.errors import JobCancelled, JobTimeout, Shutdown

T = TypeVar("T")

INTERRUPTIONS = (JobCancelled, JobTimeout, Shutdown)
"""Raised asynchronously in a thread that runs a job; never to be swallowed."""

ACTING = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u206f\ufff9-\ufffb"
    "\U000e0000-\U000e0fff"
)
"""For a set of a regular expression: what acts on the text around it. Control characters, line and
paragraph separators, what turns the direction of other text, invisible operators, and tags."""

# And what is unseen, or acts on a terminal only: a carriage return, single marks of direction,
# other invisible marks, and surrogates.
_HARMFUL = f"{ACTING}\r\xad\u061c\u180e\u200b\u200e\u200f\ufeff\ud800-\udfff"
_IN_LINE = re.compile(f"[\t\n{_HARMFUL}]")
_IN_BLOCK = re.compile(f"[{_HARMFUL}]")
_UNBROKEN = re.compile(r"[^\s\"']*")
_LEAST = 100
_MOST = 10_000
_json = msgspec.json.Encoder(enc_hook=lambda value: text_of(value)).encode


def valid(text: str) -> str:
    """*text* as a plain ``str`` that UTF-8 can encode.

    >>> valid("caf\\udce9"), valid("café")
    ('caf\\\\udce9', 'café')
    """
    plain = text if type(text) is str else str.__str__(text)
    if plain.isascii():
        return plain
    return plain.encode("utf-8", "backslashreplace").decode()


def text_of(value: T, most: int = _MOST, render: Callable[[T], str] = str) -> str:
    """*value* as valid text, :func:`cut` after *most* characters, even if its ``__str__`` (or
    ``__repr__``, by *render*) raises."""
    try:
        return valid(cut(render(value), most))
    except INTERRUPTIONS:
        raise
    except BaseException as error:  # noqa: BLE001 - broken code of the application
        return f"<{kind_of(value)} whose {render.__name__}() raises {kind_of(error)}>"


def kind_of(value: object) -> str:
    """The name of the class of *value*, ignoring its metaclass."""
    return valid(cut(type.__dict__["__name__"].__get__(type(value)), _LEAST))


def name_of(thread: Thread, most: int) -> str:
    """The name of *thread* as valid text, :func:`cut` after *most* characters; a subclass may
    override ``name``."""
    return text_of(thread, most, _name)


def _name(thread: Thread) -> str:
    return thread.name


def cut(text: str, most: int) -> str:
    """*text*, truncated to *most* characters with a note of its length if it is longer.

    Never splits a password: a URL at the cut is truncated before a possible password.

    >>> cut("abcdef", 3), cut("at redis://me:secret@db:6379", 19)
    ('abc… 6 characters in all', 'at redis://***… 28 characters in all')
    """
    plain = text if type(text) is str else str.__str__(text)
    if len(plain) <= most:
        return plain
    return f"{cut_end(plain[:most])}… {len(plain):,} characters in all"


def shortened(text: str, most: int) -> str:
    """*text*, or as much of it as fits into *most* characters with an ellipsis behind.

    >>> shortened("abcdef", 6), shortened("abcdef", 4)
    ('abcdef', 'abc…')
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def cut_end(beginning: str) -> str:
    """*beginning*, the start of a truncated text, without a partial password at its end."""
    # Searches backwards: a forward search would restart after each space.
    unbroken = _UNBROKEN.match(beginning[::-1])
    at = beginning.find("://", len(beginning) - (unbroken.end() if unbroken else 0))
    return beginning if at < 0 else f"{beginning[: at + 3]}***"


def shown(text: str, *, lines: bool = False) -> str:
    """*text* made safe to display: control, invisible and bidirectional characters are escaped.

    Args:
        lines: keep line breaks and tabs.

    >>> shown("a\\nb\\x1b[31m\\x9b\\u202e")
    'a\\\\nb\\\\x1b[31m\\\\x9b\\\\u202e'
    """
    plain = text if type(text) is str else str.__str__(text)
    if plain.isprintable():
        return plain
    return (_IN_BLOCK if lines else _IN_LINE).sub(_escaped, plain)


def paragraph(text: str) -> str:
    """*text* made safe to display, with every line but the first indented so that none can pass for
    another message.

    >>> paragraph("failed:\\njobctl: done")
    'failed:\\n  jobctl: done'
    """
    first, *rest = shown(text, lines=True).split("\n")
    return "\n".join([first, *(line if line[:1].isspace() else f"  {line}" for line in rest)])


def any_text_prints() -> None:
    """Make the standard streams escape characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def harmless(value: object) -> Any:
    """Decoded JSON with each string in it passed through :func:`shown`."""
    return _each(value, shown)


def harmless_json(raw: bytes) -> bytes:
    """The same JSON, with ``\\uXXXX`` in place of what :func:`shown` escapes."""
    if raw.isascii() and b"\x7f" not in raw:
        return raw  # the encoder has escaped the other control characters
    return _IN_BLOCK.sub(_json_escaped, raw.decode()).encode()


def encode(value: object, most: int | None = None) -> bytes:
    """*value*, a message of jobd, as JSON of at most *most* bytes: strings in it are made valid,
    and long ones truncated.

    >>> encode({"type": "failed", "reason": "no caf\\udce9.csv"})
    b'{"type":"failed","reason":"no caf\\\\\\\\udce9.csv"}'
    """
    try:
        raw = _json(value)
    except UnicodeEncodeError:
        raw = _json(_each(value, valid))
    share = most or 0
    while most and len(raw) > most and share > _LEAST:
        share //= 4
        raw = _json(_each(value, partial(_part, share)))
    return raw


def _part(most: int, text: str) -> str:
    return valid(cut(text, most))


def _each(value: object, change: Callable[[str], str]) -> object:
    """A copy of *value* in JSON types, with *change* applied to every string."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            change(key) if isinstance(key, str) else key: _each(one, change)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_each(one, change) for one in value]
    if isinstance(value, msgspec.Struct):
        return _each(msgspec.to_builtins(value, enc_hook=text_of), change)
    return value


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _json_escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
