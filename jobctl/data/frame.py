"""What the commands on Redis have in common: their options, and how their failures are told."""

from __future__ import annotations

from typing import Any

import click
from redis.exceptions import NoPermissionError

from jobctl import lazy, options
from jobctl.codes import Code, Problem
from jobd.cli import hints
from jobd.errors import (
    ArgumentError,
    ConfigError,
    JobdError,
    RefusedError,
    UnavailableError,
)


class Command(click.Command):
    """A command on Redis."""

    shared: tuple[str, ...] = options.OF_REDIS

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.params = [*self.params, *options.made(self.shared)]

    def invoke(self, ctx: click.Context) -> object:
        if "pidfile" not in self.shared and options.given(ctx, "pidfile") is not None:
            raise click.UsageError(
                f"{ctx.command_path} has no --pidfile: it works on Redis, which --redis or -C "
                "names",
                ctx,
            )
        try:
            return super().invoke(ctx)
        except JobdError as error:
            raise Problem(code_of(error), str(error)) from None


class Group(hints.Group):
    """A group of them, which may have these options, too."""

    command_class = Command

    def __init__(self, *args: Any, **how: Any) -> None:
        how.setdefault("invoke_without_command", True)
        how.setdefault("no_args_is_help", False)
        super().__init__(*args, **how)
        self.params = [*self.params, *options.made(options.OF_REDIS)]
        self.callback = _helps  # those of the groups themselves are empty


@click.pass_context
def _helps(context: click.Context) -> None:
    lazy.helps(context)


def code_of(error: JobdError) -> Code:
    """The exit code for an error of the data API."""
    if isinstance(error, RefusedError):
        denied = isinstance(error.__context__, NoPermissionError)
        return Code.PARTIAL if denied else Code.NO_REDIS
    if isinstance(error, UnavailableError):
        return Code.NO_REDIS
    return Code.USAGE if isinstance(error, ArgumentError | ConfigError) else Code.FAILED


def not_found(what: str) -> Problem:
    """That something is not there, or not any more."""
    return Problem(Code.FAILED, what)
