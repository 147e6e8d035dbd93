"""``jobctl completion``: the script that a shell reads once.

Names of commands and options are in the script, so that a Tab does not start Python for them; what
follows an option or names something in Redis is asked of ``jobctl`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from jobctl import scripts

_MOST = 100
"""Characters of the text beside a name."""


class Names(NamedTuple):
    """What can follow a command: other commands, and options, each with a text for people."""

    below: dict[str, str]
    flags: dict[str, str]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and names in Redis.

    In ~/.bashrc: eval "$(jobctl completion bash)"; in ~/.zshrc: eval "$(jobctl completion zsh)";
    for fish: jobctl completion fish > ~/.config/fish/completions/jobctl.fish
    """
    click.echo(_SCRIPTS[shell](context.find_root().command), nl=False)


def bash(root: click.Command) -> str:
    """The script for bash, which shows no texts."""
    return _filled(
        root,
        scripts.BASH,
        lambda path, names: (
            f'      "{path}") words="{" ".join(names.below)}|{" ".join(names.flags)}" ;;'
        ),
        "|",
    )


def zsh(root: click.Command) -> str:
    """The script for zsh."""

    def listed(names: dict[str, str]) -> str:
        return " ".join(_quoted(f"{name}:{text}") for name, text in names.items())

    return _filled(
        root,
        scripts.ZSH,
        lambda path, names: (
            f'      ("{path}") below=({listed(names.below)}) flags=({listed(names.flags)}) ;;'
        ),
        "|",
    )


def fish(root: click.Command) -> str:
    """The script for fish."""

    def listed(names: dict[str, str]) -> str:
        made = (f"{name}\t{text}".replace("\\", "\\\\") for name, text in names.items())
        return " ".join("'" + each.replace("'", "\\'") + "'" for each in made)

    return _filled(
        root,
        scripts.FISH,
        lambda path, names: (
            f"            case '{path}'\n"
            f"                set below {listed(names.below)}\n"
            f"                set flags {listed(names.flags)}"
        ),
        " ",
    )


_SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def _filled(
    root: click.Command, script: str, case: Callable[[str, Names], str], between: str
) -> str:
    """A script with the names of all commands and options.

    Args:
        case: what it does after a command.
        between: what stands between two patterns.
    """
    cases, valued = [], {"-P"}
    for path, command, context in commands(root, "jobctl", None):
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
        valued |= {name for each in options if not each.is_flag for name in each.opts}
        cases.append(case(path, Names(_below(command, context), _flags(options))))
    filled = script.replace("CASES", "\n".join(cases))
    return filled.replace("VALUED", between.join(sorted(valued)))


def _below(command: click.Command, context: click.Context) -> dict[str, str]:
    if not isinstance(command, click.Group):
        return {}
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {
        name: each.get_short_help_str(_MOST) for name, each in found.items() if each is not None
    }


def _flags(options: list[click.Option]) -> dict[str, str]:
    return {
        name: " ".join((each.help or "").split())[:_MOST]
        for each in options
        if not each.hidden
        for name in each.opts
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def commands(
    command: click.Command, path: str, parent: click.Context | None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """All commands with their paths, such as ``jobctl dead ls``."""
    name = path.rpartition(" ")[2]
    context = click.Context(command, parent, name, **command.context_settings)
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, f"{path} {name}", context)
