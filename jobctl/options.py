"""The options that all commands share; they may stand before the command and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from jobd.cli import completion

_KEY = "jobctl."

OF_DAEMON = ("pidfile", "config")
"""Of the commands that control a daemon on this host."""

OF_REDIS = ("redis", "prefix", "config", "json")
"""Of those that work on Redis."""

ALL = ("pidfile", "config", "redis", "prefix", "json")


class Shared(click.Option):
    """One of these options: the last one on the command line counts."""


def made(names: Sequence[str]) -> list[click.Parameter]:
    """The options of these names."""
    return [_OPTIONS[name]() for name in names]


def given(context: click.Context, name: str) -> str | None:
    """What was given for an option, on either side of the command; None if nothing was."""
    value: str | None = context.meta.get(_KEY + name)
    return value


def wants_json(context: click.Context) -> bool:
    """Whether the output is for a program."""
    return given(context, "json") is not None


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None and value is not False:
        context.meta[f"{_KEY}{option.name}"] = str(value)


def _option(*names: str, **how: Any) -> Shared:
    return Shared([*names], expose_value=False, callback=_keep, **how)


_OPTIONS = {
    "pidfile": lambda: _option(
        "-P",
        "--pidfile",
        metavar="FILE",
        help="The daemon's pidfile.",
        shell_complete=completion.files,
    ),
    "config": lambda: _option(
        "-C",
        "--config",
        metavar="FILE",
        help="The daemon's configuration.",
        shell_complete=completion.files,
    ),
    "redis": lambda: _option(
        "--redis", metavar="URL", help="Redis.  [default: as set for the daemon]"
    ),
    "prefix": lambda: _option("--prefix", metavar="TEXT", help="Prefix of all keys in Redis."),
    "json": lambda: _option("--json", is_flag=True, help="Print JSON, for programs."),
}
