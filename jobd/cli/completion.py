"""Shell completion of option values: files, directories, or choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_PATHS = {"FILE": "file", "MODULE|FILE": "file", "DIR": "dir", "DIRECTORY": "dir"}
"""Kind of path, by the metavar of the option."""

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def values(metavar: str, choices: Sequence[str] = ()) -> Complete | None:
    """The completion function for an option with this *metavar* or these *choices*; None if there
    is none."""
    if not choices and metavar not in _PATHS:
        return None

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        if choices:
            return [CompletionItem(word) for word in choices if word.startswith(begun)]
        return [CompletionItem(begun, type=_PATHS[metavar])]

    return complete


files = values("FILE")
