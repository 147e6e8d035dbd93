"""Groups of commands that are imported when they are used.

``jobctl --help`` and the completion of commands by the shell need only their names and one line
about each; what talks to a daemon or to Redis takes much longer to import than click.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import click

from jobctl.codes import Code
from jobd.cli import hints


class Entry(NamedTuple):
    """A command: where it is defined, ``MODULE:NAME``, and its line in the list."""

    place: str
    text: str


class Group(hints.Group):
    """A group whose commands are imported by their names.

    Args:
        sections: the commands by the headings under which the help lists them.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Mapping[str, Entry]] | None = None, **how: Any
    ) -> None:
        super().__init__(*args, **how)
        self.sections = sections or {}
        self._entries = {
            name: entry for part in self.sections.values() for name, entry in part.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return list(self._entries)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        cmd_name: str,
    ) -> click.Command | None:
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.place.partition(":")
        command: click.Command = getattr(_imported(module), name)
        command.short_help = entry.text
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        formatter: click.HelpFormatter,
    ) -> None:
        """List them without importing any."""
        widest = max(map(len, self._entries))
        for heading, entries in self.sections.items():
            with formatter.section(heading):
                rows = [(name.ljust(widest), entry.text) for name, entry in entries.items()]
                formatter.write_dl(rows)


def _imported(name: str) -> ModuleType:
    """A module; the first time, its objects and those of all that it imports are taken out of what
    the garbage collector looks through.

    They stay for as long as the process does. To look through them again and again while they are
    made, and once more at the end, takes a quarter of the time of a short command.
    """
    if known := sys.modules.get(name):
        return known
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def helps(context: click.Context) -> None:
    """Print the help of a group that was called without a command, and end."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(Code.USAGE)
