"""``jobctl man``: manual pages of all commands, made from their help texts."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from jobctl.codes import Code
from jobctl.shell import commands

_ENVIRONMENT = (
    ("JOBD_REDIS", "The URL of Redis, where neither --redis nor a configuration names it."),
    ("JOBD_PREFIX", "Prefix of all keys in Redis."),
    ("JOBD_CONFIG", "The configuration of the daemon."),
    ("JOBD_PIDFILE", "The daemon's pidfile."),
    ("NO_COLOR", "No colours, if it is set."),
)
_FILES = (
    ("./jobd.toml", "The configuration, where nothing else names one."),
    ("/run/jobd/jobd.pid", "The daemon's pidfile, where nothing else names one."),
)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.pass_context
def man(context: click.Context, directory: Path) -> None:
    """Write a manual page for each command into DIRECTORY, which is created: jobctl-dead-ls.1.

    For man to find them: jobctl man ~/.local/share/man/man1
    """
    directory.mkdir(parents=True, exist_ok=True)
    made = pages(context.find_root().command)
    for name, text in made.items():
        (directory / name).write_text(text, encoding="utf-8")
    click.echo(f"{len(made)} pages in {directory}")


def pages(root: click.Command) -> dict[str, str]:
    """The pages by the names of their files; the same on any day."""
    return {
        f"{path.replace(' ', '-')}.1": _page(path, command, context)
        for path, command, context in commands(root, "jobctl", None)
    }


def _page(path: str, command: click.Command, context: click.Context) -> str:
    first, *rest = inspect.cleandoc(command.help or "").split("\n\n")
    line = (command.short_help or first.partition(". ")[0]).strip().rstrip(".")
    parts = [f'.TH "{path.replace(" ", "-").upper()}" 1 "" "jobd" "jobd"\n']
    parts.append(
        f".SH NAME\n{_plain(path.replace(' ', '-'))} \\- {_plain(' '.join(line.split()))}\n"
    )
    usage = " ".join(command.collect_usage_pieces(context))
    parts.append(f".SH SYNOPSIS\n.B {_plain(path)}\n{_plain(usage)}\n.SH DESCRIPTION\n")
    parts += [f".PP\n{_plain(' '.join(each.split()))}\n" for each in (first, *rest)]
    options = [
        # The short name first: click 8.1.0 has those for help in any order.
        (", ".join(_flag(each, name) for name in sorted(each.opts, key=len)), each.help or "")
        for each in command.get_params(context)
        if isinstance(each, click.Option) and not each.hidden
    ]
    parts.append(_list("OPTIONS", options))
    if isinstance(command, click.Group):
        below = []
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                below.append((f"{path} {name}", found.get_short_help_str(200)))
        parts.append(_list("COMMANDS", below))
    parts.append(_list("ENVIRONMENT", _ENVIRONMENT))
    parts.append(_list("FILES", _FILES))
    parts.append(_list("EXIT STATUS", [(str(int(code)), _meaning(code)) for code in Code]))
    return "".join(parts)


def _meaning(code: Code) -> str:
    return code.name.lower().replace("_", " ")


def _flag(option: click.Option, name: str) -> str:
    return name if option.is_flag else f"{name} {option.metavar or 'TEXT'}"


def _list(heading: str, rows: object) -> str:
    assert isinstance(rows, list | tuple)
    items = [f".TP\n.B {_plain(name)}\n{_plain(' '.join(text.split()))}\n" for name, text in rows]
    return f".SH {heading}\n{''.join(items)}" if items else ""


def _plain(text: str) -> str:
    """*text* for roff: nothing in it is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)
