"""The manual's pages of commands and exit codes are made from the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from jobctl import reference
from jobctl.cli import jobctl
from jobctl.codes import Code
from jobd.errors import Exit
from tests.support.versions import is_older

ROOT = Path(__file__).parents[3]
AGAIN = "run `python -m jobctl.reference`"


@pytest.mark.skipif(
    is_older("click", "8.2"), reason="the page has the words of click 8.2 and newer"
)
def test_the_page_of_commands_is_up_to_date() -> None:
    assert (ROOT / reference.COMMANDS).read_text() == reference.commands(), AGAIN


def test_the_line_of_a_command_in_a_list_is_whole_on_80_columns() -> None:
    """What does not fit is cut with "..."."""
    first = click.Context(jobctl, info_name="jobctl", terminal_width=80)
    cut, groups = [], list[tuple[click.Context, click.Group]]([(first, jobctl)])
    for context, group in groups:
        help_text = group.get_help(context)
        cut += [line for line in help_text.splitlines() if re.search(r"[^\]]\.\.\.$", line)]
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            if isinstance(found, click.Group):
                below = click.Context(found, info_name=name, parent=context, terminal_width=80)
                groups.append((below, found))
    assert len(groups) > 10
    assert not cut


def test_the_page_of_exit_codes_is_up_to_date() -> None:
    text = (ROOT / reference.EXIT_CODES).read_text()
    assert text == reference.exit_codes(text), AGAIN


def test_the_page_of_the_checks_is_up_to_date() -> None:
    text = (ROOT / reference.DOCTOR).read_text()
    assert text == reference.checks(text), AGAIN


@pytest.mark.parametrize("codes", [Exit, Code])
def test_every_exit_code_says_what_it_means(codes: type[Exit | Code]) -> None:
    assert list(reference.meanings(codes)) == [one.name for one in codes]
