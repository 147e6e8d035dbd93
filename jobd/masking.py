"""Passwords in URLs, wherever a text mentions them, replaced by ``***``.

The texts are anybody's and of any length, so every one is gone through once: no pattern here
begins anew where it has looked before.
"""

from __future__ import annotations

import re

_MASK = "***"
_END = re.compile(r"[\s\"']")
# A Sentinel's URL may hold a password without a name, so all of it is masked there.
_BEFORE_PASSWORD = re.compile(r"(?<=sentinel)://|://[^\s:\"']*:", re.IGNORECASE)
_NAME_ALONE = re.compile(r"://[^\s/?#:@\"']+@")
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
    return _IN_QUERY.sub(rf"\1{_MASK}", text) if "assword=" in text.lower() else text


def mask_url(url: str) -> str:
    """*url*, which is one from its beginning to its end, masked; also where it is malformed.

    >>> mask_url("redis://app:sec ret@db:6379/0"), mask_url("redis://sec/ret@db")
    ('redis://app:***@db:6379/0', 'redis://***@db')
    """
    start = url.find("://") + 3 if "://" in url else 0
    at, last = url.find(":", start), url.rfind("@")
    if last >= start:
        named = start <= at < last and not url[:start].lower().endswith("sentinel://")
        url = url[: at + 1 if named else start] + _MASK + url[last:]
    return _IN_QUERY.sub(rf"\1{_MASK}", url)


def _without_userinfo(text: str, at: int) -> str:
    """What is between the name and the last ``@`` before a space or quote counts as the password,
    for it may hold anything else."""
    parts, done = [], 0
    while at >= 0:
        found = _END.search(text, at)
        end = found.start() if found else len(text)
        last = text.rfind("@", at, end)
        if last >= 0:
            before = _BEFORE_PASSWORD.search(text, at, last)
            until = before.end() if before else end
            parts += [text[done:at], _NAME_ALONE.sub(f"://{_MASK}@", text[at:until])]
            if before:
                parts.append(_MASK)
            done = last if before else end
        at = text.find("://", end)
    return "".join([*parts, text[done:]])
