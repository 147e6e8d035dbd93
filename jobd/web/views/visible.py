"""Characters that are not seen themselves but act on what is around them, as people see them.

A name that turns the direction of the text (U+202E) turns what stands behind it on the page as
well, and a browser drops a NUL. Jinja escapes markup only, and such text comes from everywhere; so
the whole page is gone through, once it is made.
"""

from __future__ import annotations

import re

from jobd.text.printable import ACTING

# Single marks of direction are not among them: they turn nothing, and translations may need them.
_ACTING = re.compile(f"[{ACTING}]")
_PART = re.compile(r"<textarea[^<>]*>[^<]*|<[^<>]*>|[^<]+")
_READ = re.compile(r"(?<= )(?:alt|aria-label|data-label|placeholder|title)=\"[^\"]*\"")
_PICTURES = 0x2400


def visible(text: str) -> str:
    """Plain text with each of them made visible.

    >>> visible("a\\x00b\\u202ec\\x9b")
    'a␀b\\\\u202ec\\\\x9b'
    """
    return text if text.isprintable() else _ACTING.sub(_escaped, text)


def visible_page(page: str) -> str:
    """A page with those in its text, and in attributes that people read, made visible; what forms
    send back stays as it is.

    >>> visible_page('<b title="\\x1b">\\x1b</b><input value="\\x1b">')
    '<b title="␛">␛</b><input value="\\x1b">'
    """
    return page if _ACTING.search(page) is None else _PART.sub(_shown, page)


def _shown(found: re.Match[str]) -> str:
    part = found[0]
    if part.startswith("<textarea") or _ACTING.search(part) is None:
        return part
    return _READ.sub(lambda read: visible(read[0]), part) if part[0] == "<" else visible(part)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return ascii(found[0])[1:-1]
