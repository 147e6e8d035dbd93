"""Masking of passwords in URLs anywhere in a text.

The texts are untrusted and of any length, so the patterns must not backtrack: each text is scanned
in linear time. For a string that is one whole URL, use :func:`jobd.settings.redis_url.redact`.
"""

from __future__ import annotations

import re

MASK = "***"
_END = re.compile(r"[\s\"']")
_REDIS = re.compile(r"(?:rediss?|unix|redis\+sentinel)\Z", re.IGNORECASE)
_NAMED = re.compile(r"[^\s/?#:@\"']*:")
_NAME_ALONE = re.compile(r"[^\s/?#:@\"']+@")
_IN_QUERY = re.compile(r"([?&][a-z_]*password=)[^\s&\"'#]+", re.IGNORECASE)


def mask(text: str) -> str:
    """*text* with the passwords of its URLs masked.

    >>> mask("no answer at redis://app:se@cret@db:6379/0, nor at redis://secret@db")
    'no answer at redis://app:***@db:6379/0, nor at redis://***@db'
    """
    at = text.find("://")
    if at < 0:
        return text
    if "@" in text:
        text = _without_userinfo(text, at)
    return _IN_QUERY.sub(rf"\1{MASK}", text) if "assword=" in text.lower() else text


def _without_userinfo(text: str, at: int) -> str:
    """Mask everything between the user name and the last ``@`` before a space or quote: a password
    may contain any other character."""
    parts, done = [], 0
    while at >= 0:
        found = _END.search(text, at)
        end = found.start() if found else len(text)
        last = text.rfind("@", at, end)
        start = at + len("://")
        if last >= 0 and (kept := _kept(text, start, last)) is not None:
            parts += [text[done:kept], MASK]
            done = last
        at = text.find("://", end)
    return "".join([*parts, text[done:]])


def _kept(text: str, start: int, last: int) -> int | None:
    """The start of the masked part of a URL whose ``://`` ends at *start* and whose last ``@`` is
    at *last*; None to mask nothing. A user name ends with a colon and needs no escaping."""
    scheme = text[max(0, start - 17) : start - 3]
    if scheme.lower().endswith("sentinel"):
        return start  # may be a password without a user name
    if named := _NAMED.match(text, start, last):
        return named.end()
    if ":" in text[start:last] or _REDIS.search(scheme) or _NAME_ALONE.match(text, start, last + 1):
        return start
    return None
