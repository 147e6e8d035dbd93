"""Texts that are translated when they are displayed.

The data API's texts about a job, and the dashboard's refusals, are created before the reader's
language is known: they are shared between readers, or go to a program. Such a text is in English
and keeps its message id and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self


class Text(str):
    """An English text that can be translated later; otherwise an ordinary ``str``.

    ``str(text)`` and copies (``copy``, ``pickle``, :func:`dataclasses.asdict`) are plain strings.
    The encoders of msgspec accept plain strings only.

    Args:
        msgid: the whole sentence, with a ``%(name)s`` for each of *values*; must be a literal,
            because the translation catalogue is extracted from the source.
        values: the values to insert; a Text among them is translated, too. Without values, *msgid*
            is used unchanged.

    Example:
        >>> text = Text("Queue %(queue)s is paused.", queue="mail")
        >>> text, text.msgid
        ('Queue mail is paused.', 'Queue %(queue)s is paused.')
    """

    msgid: str
    plural: str | None
    number: int
    values: Mapping[str, object]

    def __new__(cls, msgid: str, /, **values: object) -> Self:
        return cls._made(msgid, None, 1, values)

    @classmethod
    def counted(cls, one: str, many: str, count: int, /, **values: object) -> Self:
        """A text with singular and plural; the number is ``%(count)s`` in it.

        >>> Text.counted("%(count)s job", "%(count)s jobs", 2000)
        '2,000 jobs'
        """
        return cls._made(one, many, count, {"count": f"{count:,}", **values})

    def filled(self, **values: object) -> Self:
        """This text with these values.

        >>> Text("Deleting %(what)s").filled(what="dead jobs")
        'Deleting dead jobs'
        """
        return type(self)(self.msgid, **values)

    @classmethod
    def _made(cls, one: str, many: str | None, count: int, values: Mapping[str, object]) -> Self:
        english = one if many is None or count == 1 else many
        made = super().__new__(cls, english % values if values else english)
        made.msgid, made.plural, made.number, made.values = one, many, count, values
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)
