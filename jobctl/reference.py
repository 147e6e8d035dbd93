"""Generates the manual's pages about commands and exit codes from the code.

Run ``python -m jobctl.reference`` at the top of the source tree after a command, an option or an
exit code has been added or changed. What an exit code means is the text below it in its class.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path

import click

from jobctl.cli import jobctl
from jobctl.codes import Code
from jobctl.doctor.command import TABLES
from jobctl.options import Shared
from jobd.cli.main import jobd
from jobd.errors import Exit
from jobd.settings.daemon import SETTINGS
from jobd.settings.dashboard import WEB_SETTINGS
from jobd.settings.schema import Setting

COMMANDS = Path("docs/cli.md")
EXIT_CODES = Path("docs/exit-codes.md")
DOCTOR = Path("docs/doctor.md")
_HEAD = """\
# Commands

`jobd` starts things: the daemon, the dashboard, the demo. `jobctl` controls a running daemon, and
shows and changes the [jobs in Redis](jobctl.md). Both print the same with `--help`, `jobctl man`
writes it as manual pages. This page is made from the code by `python -m jobctl.reference`.

"""
_CODE = re.compile(r"(?<![\w`$-])(--?[A-Za-z][\w-]*|\$[A-Z_]+|jobctl [a-z]+)(?![\w`])")


def commands() -> str:
    """The text of docs/cli.md."""
    return (_HEAD + "".join(map(_group, (jobd, jobctl)))).rstrip("\n") + "\n"


def exit_codes(text: str) -> str:
    """*text*, the page of the exit codes, with its tables regenerated."""
    for name, codes in (("jobd", Exit), ("jobctl", Code)):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, _, rest = text.partition(begin)
        text = before + begin + _codes(codes) + end + rest.partition(end)[2]
    return text


def checks(text: str) -> str:
    """*text*, the page about ``jobctl doctor``, with its table regenerated."""
    begin, end = "<!-- checks: begin -->\n", "<!-- checks: end -->\n"
    before, _, rest = text.partition(begin)
    rows = [
        (f"`{check.name}`", str(check.severity), check.looks_at)
        for table in TABLES
        for check in table
    ]
    made = _table(("check", "severity", "looks at"), rows)
    return before + begin + made + end + rest.partition(end)[2]


def meanings(codes: type[IntEnum]) -> dict[str, str]:
    """The texts below the members of *codes*, by the names of those."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(codes))).body
    assert isinstance(body, ast.ClassDef)
    found, name = {}, ""
    for line in body.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            name = line.targets[0].id
        elif name and isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            found[name] = inspect.cleandoc(str(line.value.value)).replace("\n", " ")
    return found


def _codes(codes: type[IntEnum]) -> str:
    texts = meanings(codes)
    rows = [(str(int(one)), one.name.lower().replace("_", " "), texts[one.name]) for one in codes]
    return _table(("code", "name", "meaning"), rows)


def _group(group: click.Group) -> str:
    context = click.Context(group, info_name=group.name, max_content_width=100)
    parts = [f"## {group.name}\n\n", _help(group), _options(group, context)]
    parts += [_command(*each) for each in _below(group, context)]
    return "".join(parts)


def _below(
    group: click.Group, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """The commands of *group*, each with that of its group."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command, context
        if isinstance(command, click.Group):
            yield from _below(command, click.Context(command, info_name=name, parent=context))


def _command(command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    head = f"### {context.command_path}\n\n```text\n{usage}\n```\n\n"
    return head + _help(command) + _options(command, context)


def _help(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "".join(_coded(" ".join(each.split())) + "\n\n" for each in paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    """What the command takes; of the settings only where they are listed."""
    rows, of_daemon, of_web = [], [], []
    for each in command.get_params(context):
        if not isinstance(each, click.Option) or each.hidden or "--help" in each.opts:
            continue
        if isinstance(each, Shared) and context.parent is not None:
            continue  # they are listed at the tool itself
        if _is_one(each, SETTINGS):
            of_daemon.append(each)
        elif _is_one(each, WEB_SETTINGS):
            of_web.append(each)
        else:
            rows.append((_flags(each), _coded(" ".join((each.help or "").split()))))
    text = _table(("option", "meaning"), rows) + "\n" if rows else ""
    if len(of_daemon) == len(SETTINGS):
        text += "And a flag for each [setting](configuration.md#all-settings).\n\n"
    elif of_daemon:
        names = ", ".join(f"`{each.opts[-1]}`" for each in of_daemon)
        text += f"And, of the [settings](configuration.md#all-settings): {names}.\n\n"
    if of_web:
        where = "configuration.md#settings-of-the-dashboard"
        names = ", ".join(f"`{each.opts[-1]}`" for each in of_web)
        text += f"And, of the [dashboard's settings]({where}): {names}.\n\n"
    return text


def _is_one(option: click.Option, settings: tuple[Setting, ...]) -> bool:
    """Whether an option stands for a setting; others of that name say something else."""
    return any(
        one.name == option.name and (option.help or "").startswith(one.help) for one in settings
    )


def _flags(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or 'TEXT'}"
    names = [f"`{name}{value}`".replace("|", "\\|") for name in option.opts]
    return ", ".join(names + [f"`{name}`" for name in option.secondary_opts])


def _coded(text: str) -> str:
    return _CODE.sub(r"`\1`", text).replace("|", r"\|")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


if __name__ == "__main__":
    COMMANDS.write_text(commands(), encoding="utf-8")
    DOCTOR.write_text(checks(DOCTOR.read_text(encoding="utf-8")), encoding="utf-8")
    EXIT_CODES.write_text(exit_codes(EXIT_CODES.read_text(encoding="utf-8")), encoding="utf-8")
