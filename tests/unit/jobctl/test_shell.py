"""Completion and manual pages are made from the commands, and the list of commands is cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from jobctl import man, shell
from jobctl.cli import COMMANDS, jobctl
from tests.support.daemon import environment

SWITCHES = ("pause", "resume", "reset", "set", "close")
"""Actions that are undone by another one, or break nothing."""

PATHS = {path: command for path, command, _ in shell.commands(jobctl, "jobctl", None)}

_ASK = """
source ./completion.bash
COMP_LINE="$*"
COMP_POINT=${#COMP_LINE}
_jobctl jobctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(directory: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words; it finds no program on its PATH."""
    (directory / "completion.bash").write_text(shell.bash(jobctl))
    done = subprocess.run(
        ["/bin/bash", "-c", _ASK, "bash", "jobctl", *words],
        cwd=directory,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["de"], ["dead"]),
        (["retries", "re"], ["retry", "reschedule"]),
        (["--redis", "redis://x", "trash", ""], ["empty", "ls", "purge", "restore"]),
        (["-P", "dead", "stop", "--ti"], ["--timeout"]),
        (["queues", "clear", "--dr"], ["--dry-run"]),
        (["export", "--ol"], ["--older"]),
        (["jobs", "show", "x"], []),
    ],
)
def test_bash_completes_commands_and_options_by_itself(
    words: list[str], expected: list[str], tmp_path: Path
) -> None:
    assert sorted(completed(tmp_path, *words)) == sorted(expected)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobctl.main(["completion", name], prog_name="jobctl", standalone_mode=False)
    assert "_JOBCTL_COMPLETE" in capsys.readouterr().out


def test_every_command_has_a_page_with_all_its_options(tmp_path: Path) -> None:
    jobctl.main(["man", str(tmp_path / "man1")], prog_name="jobctl", standalone_mode=False)
    written = {file.name: file.read_text() for file in (tmp_path / "man1").iterdir()}
    assert written == man.pages(jobctl)
    assert written.keys() == {f"{path.replace(' ', '-')}.1" for path in PATHS}
    for path, command in PATHS.items():
        page = written[f"{path.replace(' ', '-')}.1"]
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS"):
            assert f".SH {section}\n" in page, path
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name.replace("-", "\\-") in page for name in option.opts), path


def test_every_page_names_both_options_for_help(tmp_path: Path) -> None:
    # In a process of its own: click keeps the option as it was asked for first.
    command = [sys.executable, "-m", "jobctl", "man", str(tmp_path)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    for page in tmp_path.iterdir():
        assert ".B \\-h, \\-\\-help\n" in page.read_text(), page.name


def test_what_asks_can_be_rehearsed() -> None:
    for path, command in PATHS.items():
        names = {each.name for each in command.params}
        if "yes" in names and path != "jobctl chaos":
            assert "dry_run" in names, path


def test_what_can_print_json_says_what_it_prints() -> None:
    page = (Path(__file__).parents[3] / "docs/jobctl.md").read_text()
    section = page.partition("## For programs")[2].partition("\n## ")[0]
    elsewhere = ("status", "doctor", "redis", "tune", "chaos", "top", "export")
    for path, command in PATHS.items():
        names = {each.name for each in command.params}
        action = names & {"yes", "dry_run"} or path.rpartition(" ")[2] in (*SWITCHES, "retry")
        own = path in ("jobctl jobs cancel", "jobctl import")
        if isinstance(command, click.Group) or "json" not in names or path.split()[1] in elsewhere:
            continue
        if not action or own:
            assert f"`{path}`" in section or f"`{path} " in section, path


def test_the_list_has_a_line_for_every_command_and_each_says_what_it_does() -> None:
    for path, command in PATHS.items():
        assert command.help, path
        assert command.help.strip().endswith((".", "*", "fish", "man1")), path
    listed = [name for section in COMMANDS.values() for name in section]
    assert {path.split()[1] for path in PATHS if " " in path} == set(listed)


def test_help_imports_nothing_that_talks_to_redis_or_to_a_daemon() -> None:
    code = (
        "import sys; from jobctl.cli import main; main(['--help']); "
        "print([name for name in sys.modules if name.partition('.')[0] in ('redis', 'asyncio') "
        "or name.startswith(('jobd.api', 'jobctl.data', 'jobctl.daemon'))], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
