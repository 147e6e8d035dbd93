"""The language of a page: that which its reader's browser prefers, among those that there are.

Pages are English. A translation is a catalogue of GNU gettext, ``LANGUAGE/LC_MESSAGES/jobd-web.mo``
below ``jobd/web/locale`` or below the directory of the setting ``translations``. All of them are
read when the dashboard starts.

Texts are translated while a page is rendered, and nowhere before: what is kept for all readers, and
what programs and logs are told, stays English. Templates call :func:`gettext` (as ``_``) and
:func:`ngettext`; code makes a :class:`~jobd.text.translatable.Text`, which a template gives to
``_``.

A translation is text, too: it is escaped like everything else. Markup within a sentence comes as
one of its values.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

import msgspec
from markupsafe import escape
from starlette.requests import HTTPConnection

from jobd.errors import ConfigError
from jobd.text.translatable import Text
from jobd.web.mount import header

DOMAIN = "jobd-web"
"""The name of the catalogues."""

PACKAGED = Path(__file__).parent / "locale"
"""Where those are that come with jobd, and the template of all."""

_MOST = 200
"""Characters of the header that are read; browsers send fewer."""

_REMEMBERED = 256
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?"
)

IN_SCRIPTS = {
    "ago": Text("%(time)s ago"),
    "ahead": Text("in %(time)s"),
    "now": Text("now"),
    "silent": Text("The dashboard does not answer."),
    "unavailable": Text("Redis does not answer."),
}
"""The texts of app.js."""


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        tag: as of RFC 5646: ``pt-BR``.
        catalogue: its translations.
    """

    tag: str
    catalogue: NullTranslations

    def translate(self, text: str, values: Mapping[str, object] | None = None) -> str:
        """*text* in this language, with *values* in it besides its own.

        A translation that does not go with its text, which ``pybabel compile`` reports, is not
        used: a page in two languages is better than none.
        """
        plural, count, given = None, 1, values or {}
        if isinstance(text, Text):
            plural, count, given = text.plural, text.number, {**text.values, **given}
            text = text.msgid
        if not text:
            return text  # to gettext it stands for the head of the catalogue
        found = (
            self.catalogue.gettext(text)
            if plural is None
            else self.catalogue.ngettext(text, plural, count)
        )
        if not given:
            return found
        given = {
            name: self.translate(value) if isinstance(value, Text) else value
            for name, value in given.items()
        }
        try:
            return _filled(found, given)
        except (KeyError, ValueError, TypeError):
            return _filled(text if plural is None or count == 1 else plural, given)

    @cached_property
    def in_scripts(self) -> str:
        """The texts of scripts, as JSON."""
        texts = {name: self.translate(text) for name, text in IN_SCRIPTS.items()}
        return msgspec.json.encode(texts).decode()


def _filled(text: str, values: Mapping[str, object]) -> str:
    if any(hasattr(value, "__html__") for value in values.values()):
        return escape(text) % values
    return text % values


ENGLISH = Language("en", NullTranslations())

_spoken: ContextVar[Language] = ContextVar("jobd.web.language", default=ENGLISH)


class Languages:
    """Those that a dashboard speaks.

    Args:
        directory: where more catalogues are than come with jobd, which go over those; empty for
            none.

    Raises:
        ConfigError: it is no directory, or a catalogue in it cannot be read.
    """

    def __init__(self, directory: str = "") -> None:
        if directory and not Path(directory).is_dir():
            raise ConfigError(f"translations: {directory} is not a directory")
        self._known = {"en": ENGLISH}
        for place in (PACKAGED, *([Path(directory)] if directory else [])):
            for file in sorted(place.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")):
                self._add(file)
        self._choose = lru_cache(_REMEMBERED)(self._chosen)

    def __len__(self) -> int:
        return len(self._known)

    def _add(self, file: Path) -> None:
        tag = file.parts[-3].replace("_", "-")
        try:
            with file.open("rb") as opened:
                catalogue = GNUTranslations(opened)
        except (OSError, ValueError, LookupError, struct.error) as error:
            raise ConfigError(
                f"translations: {file} cannot be read: {error}. Make it with pybabel compile"
            ) from None
        if known := self._known.get(tag.lower()):
            catalogue.add_fallback(known.catalogue)
        self._known[tag.lower()] = Language(tag, catalogue)

    def preferred(self, header: str) -> Language:
        """The one that somebody gets who sends this ``Accept-Language``."""
        return self._choose(header[:_MOST]) if len(self._known) > 1 else ENGLISH

    def _chosen(self, header: str) -> Language:
        wanted: list[tuple[float, str]] = []
        for part in header.lower().split(","):
            if found := _RANGE.fullmatch(part):
                wanted.append((float(found[2] or 1), found[1]))
        # Stable: of two that are liked as much, the first.
        for quality, tag in sorted(wanted, key=lambda one: -one[0]):
            if quality and (language := self._find(tag)):
                return language
        return ENGLISH

    def _find(self, tag: str) -> Language | None:
        """That of a language range: itself, or a more general one (lookup as of RFC 4647), or, as
        people expect it, a more special one."""
        if tag == "*":
            return ENGLISH
        parts = tag.split("-")
        for length in range(len(parts), 0, -1):
            if found := self._known.get("-".join(parts[:length])):
                return found
        return next((one for name, one in self._known.items() if name.startswith(f"{tag}-")), None)


def of(connection: HTTPConnection) -> Language:
    """The language of the pages for who sends this request."""
    languages: Languages = connection.scope["jobd.languages"]
    return languages.preferred(header(connection.scope, b"accept-language") or "")


def is_chosen(connection: HTTPConnection) -> bool:
    """Whether another reader may get this page in another language."""
    return len(connection.scope["jobd.languages"]) > 1


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Within the block, texts are in *language*."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def gettext(text: str, /, **values: object) -> str:
    """*text* in the language that is spoken, with *values* in the places of their names.

    >>> gettext("%(count)s of %(size)s", count=3, size=7)
    '3 of 7'
    """
    return _spoken.get().translate(text, values)


def ngettext(one: str, many: str, count: int, /, **values: object) -> str:
    """The same for a number of things, which is ``%(count)s``.

    >>> ngettext("%(count)s warning", "%(count)s warnings", 1)
    '1 warning'
    """
    return _spoken.get().translate(Text.counted(one, many, count, **values))
