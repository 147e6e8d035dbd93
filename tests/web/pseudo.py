"""A language that nobody speaks, and what a page in it says that is not in it.

Its catalogue has every text of the template in marks, and marks around what is filled in:
``‹Queue ⟦mail⟧ is paused›``. Whatever stands outside of marks, or within those of a value, has
been said without asking for a translation; unless it is data.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from jobd.web.language import DOMAIN, PACKAGED

TAG = "en-XA"

_PLACE = re.compile(r"%\(\w+\)s")
_READ = ("title", "placeholder", "aria-label", "alt", "data-label", "data-usual", "data-each")
_VOID = frozenset({"meta", "link", "input", "br", "wbr", "path", "rect", "circle", "option"})
_UNSEEN = frozenset({"script", "style", "svg", "textarea"})
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    r"|\d[\d,.]*\s?(?:(?:ms|s|min|h|d|B|KB|MB|GB|k|M|G)\b(?:/s)?|/s)"
    r"|–\s*/s|%\(\w+\)s"
)
"""Numbers with the symbols of their units, which are the same everywhere, and what scripts fill."""


def catalogue(directory: Path) -> Path:
    """Write the language below *directory*; returns that."""
    with (PACKAGED / f"{DOMAIN}.pot").open("rb") as template:
        found = read_po(template)
    for message in found:
        if isinstance(message.id, str):
            message.string = _marked(message.id) if message.id else ""
        else:
            message.string = tuple(map(_marked, message.id))
    place = directory / TAG.replace("-", "_") / "LC_MESSAGES"
    place.mkdir(parents=True)
    with (place / f"{DOMAIN}.mo").open("wb") as file:
        write_mo(file, found)
    return directory


def _marked(text: str) -> str:
    return f"‹{_PLACE.sub(lambda place: f'⟦{place[0]}⟧', text)}›"


def untranslated(page: str, data: str) -> list[str]:
    """The words of a page that are not in that language.

    Args:
        page: HTML. What is marked with ``translate="no"`` there is data.
        data: pattern of what else is.
    """
    seen = _Seen()
    seen.feed(page)
    known = re.compile(f"{_NUMBER.pattern}|{data}")
    texts = ["".join(seen.text), *seen.attributes]
    return [word for text in texts for word in _WORD.findall(known.sub(" ", _outside(text)))]


def _outside(text: str) -> str:
    """*text* without what is in the language."""
    inside, kept = [""], []
    for character in text:
        if character in "‹⟦":
            inside.append(character)
            kept.append(" ")
        elif character in "›⟧":
            inside.pop()
            kept.append(" ")
        elif inside[-1] != "‹":
            kept.append(character)
    return "".join(kept)


class _Seen(HTMLParser):
    """What people read of a page: its text, and the attributes that are shown or read out."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.attributes: list[str] = []
        self._hidden: list[bool] = [False]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        hidden = self._hidden[-1] or given.get("translate") == "no" or tag in _UNSEEN
        if tag not in _VOID:
            self._hidden.append(hidden)
        self.text.append(" ")
        if not hidden:
            self.attributes += [given[name] for name in _READ if name in given]
        if given.get("data-texts"):
            self.attributes += json.loads(given["data-texts"]).values()
        if given.get("data-chart"):
            series = json.loads(given["data-chart"])["series"]
            self.attributes += [one["label"] for one in series if "tone" in one]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            self._hidden.pop()
        self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden[-1]:
            self.text.append(data)
