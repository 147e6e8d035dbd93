"""Texts for people that can still be translated where they are shown.

What the data API says about a job, and why the dashboard refuses something, is made where nobody
knows yet who will read it: it is kept for several readers, or goes to a program instead. Such a
text is in English, and knows what it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self


class Text(str):
    """A text in English; for programs an ordinary ``str``.

    ``str(text)``, and copies (``copy``, ``pickle``, :func:`dataclasses.asdict`), are plain. The
    encoders of msgspec take plain strings only.

    Args:
        msgid: the whole sentence, with a ``%(name)s`` for each of *values*; literally, for the
            translators' catalogue is made from the source.
        values: what stands there; a Text among them is translated with the rest. Without any,
            *msgid* stays as it is.

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
        """The text for a number of things, which is ``%(count)s`` in it.

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
