"""What is printed: tables and lines for people, JSON for programs.

Whatever comes out of Redis passes through :func:`jobd.text.printable.shown`, or is JSON with
control characters escaped, and is cut before that: a payload may have megabytes, or mean to write
on somebody's terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import click
import msgspec

from jobd.text.printable import cut, harmless_json, shown

MOST = 200
"""Characters of a cell."""

LONGEST = 10_000
"""Characters of a line, and of a value of :func:`facts`: a tag of a megabyte takes half a minute to
be written, and more than one screen. ``--json`` has all."""

_GAP = "  "
_LEAST = 8
"""Columns that a flexible cell keeps; where that is too much, rows are written as blocks."""

_FIRST, _PATIENCE = 100, 0.1
"""Rows by which the widths of the columns are chosen, and seconds for which they are awaited."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        right: whether its cells are numbers.
        gives: whether it may be cut where the terminal is too narrow; an id may not.
        last: whether it is cut only when all others are.
        colour: of its cells.
    """

    name: str
    right: bool = False
    gives: bool = False
    last: bool = False
    colour: str = ""


def width() -> int:
    """Columns of the terminal; as many as wanted where the output is no terminal."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return 10_000
    return max(1, shutil.get_terminal_size().columns)


def line(text: str, *, fg: str | None = None, dim: bool | None = None) -> None:
    """Print one line that may hold anything."""
    click.secho(shown(cut(text, LONGEST)), fg=fg, dim=dim)


def block(text: str) -> None:
    """Print a text of several lines that may hold anything."""
    click.echo(shown(text, lines=True))


def has_terminal() -> bool:
    """Whether a line that is written over again can be shown."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def transient(text: str) -> None:
    """Show *text*, which may hold anything, in the place of the last such line; "" takes it away.

    It is written as it is: where no colours are wanted, click would leave out what clears a line.
    """
    room = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
    sys.stderr.write(f"\r\x1b[K{fitted(shown(text), room)}")
    sys.stderr.flush()


def record(value: object) -> None:
    """Print a record as one line of JSON; text in it that is not valid UTF-8 was replaced."""
    click.echo(harmless_json(msgspec.json.encode(value)).decode())


def records(values: Iterable[object]) -> int:
    """Print records as they come, one a line; returns how many there were."""
    count = 0
    for value in values:
        record(value)
        count += 1
    return count


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> int:
    """Print rows as they come, in columns that fit the terminal; returns how many there were."""
    coming = iter(rows)
    known, end = list[list[str]](), time.monotonic() + _PATIENCE
    for row in islice(coming, _FIRST):
        known.append(_cells(row))
        if time.monotonic() > end:
            break
    if not known:
        return 0
    widths = _fitting(columns, known, width())
    if widths is None:
        return _blocks(columns, known, coming)
    sized = list(zip(columns, widths, strict=True))
    heads = [_padded(column, column.name, size) for column, size in sized]
    click.secho(_GAP.join(heads).rstrip(), dim=True)
    count = 0
    for cells in _all(known, coming):
        parts = [
            click.style(_padded(column, cell, size), fg=column.colour or None)
            for (column, size), cell in zip(sized, cells, strict=True)
        ]
        click.echo(_GAP.join(parts).rstrip())
        count += 1
    return count


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values below each other; values may have several lines."""
    known = [(name, shown(cut(value, LONGEST), lines=True)) for name, value in pairs if value]
    widest = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        first, *rest = value.split("\n")
        click.echo(f"{click.style(name.ljust(widest), dim=True)}{_GAP}{first}")
        for each in rest:
            click.echo(f"{' ' * widest}{_GAP}{each}")


def wide(text: str) -> int:
    """Columns that *text* takes on a terminal.

    >>> wide("abc"), wide("日本"), wide("e\\u0301")
    (3, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def fitted(text: str, most: int) -> str:
    """*text*, or as much of it as fits into *most* columns with an ellipsis behind.

    >>> fitted("abcdef", 6), fitted("abcdef", 4), fitted("日本語", 5)
    ('abcdef', 'abc…', '日本…')
    """
    if wide(text) <= most:
        return text
    kept, room = [], most - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…" if most > 0 else ""


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cells(row: Sequence[str]) -> list[str]:
    return [fitted(shown(cell[: MOST + 1]), MOST) for cell in row]


def _all(known: list[list[str]], coming: Iterator[Sequence[str]]) -> Iterator[list[str]]:
    yield from known
    for row in coming:
        yield _cells(row)


def _fitting(columns: Sequence[Column], rows: list[list[str]], room: int) -> list[int] | None:
    """The widths of the columns; None if the terminal is too narrow for them."""
    widths = [
        max(len(column.name), *(wide(row[at]) for row in rows)) for at, column in enumerate(columns)
    ]
    room -= len(_GAP) * (len(columns) - 1)
    for last in (False, True):
        giving = [at for at, column in enumerate(columns) if column.gives and column.last is last]
        _narrowed(widths, giving, room)
    return widths if sum(widths) <= room else None


def _narrowed(widths: list[int], giving: list[int], room: int) -> None:
    """Take from the columns *giving* what is too much for *room*, or as much as they have."""
    while sum(widths) > room:
        # The widest gives first, so that columns with short texts keep them whole.
        largest = max(giving, key=lambda at: widths[at], default=None)
        if largest is None or widths[largest] <= _LEAST:
            return
        others = sorted((widths[at] for at in giving if at != largest), reverse=True)
        lowest = max(_LEAST, others[0] if others and others[0] < widths[largest] else 0)
        lowest = min(lowest, widths[largest] - 1)
        widths[largest] = max(lowest, widths[largest] - (sum(widths) - room), _LEAST)


def _blocks(
    columns: Sequence[Column], known: list[list[str]], coming: Iterator[Sequence[str]]
) -> int:
    """A line for each cell, for terminals of a few columns; an id may take two."""
    room, count = width(), 0
    for cells in _all(known, coming):
        if count:
            click.echo()
        for column, cell in zip(columns, cells, strict=True):
            text = f"{column.name} {cell}"
            if cell:
                click.echo(fitted(text, room) if column.gives and not column.last else text)
        count += 1
    return count


def _padded(column: Column, text: str, size: int) -> str:
    text = fitted(text, size)
    space = " " * (size - wide(text))
    return space + text if column.right else text + space
