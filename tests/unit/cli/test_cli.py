"""The command line: help, usage errors, exit codes, and what it must not import."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jobctl.cli import jobctl
from jobd.cli import main as cli
from jobd.errors import Exit, UnavailableError
from jobd.settings.daemon import SETTINGS, Config
from jobd.settings.dashboard import WEB_FLAGS, WEB_SETTINGS

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("JOBD_", "REDIS_URL"))]:
        monkeypatch.delenv(name)


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_help_of_the_group_imports_click_and_nothing_heavy() -> None:
    code = """
import sys
from jobd.cli import main as cli
code = cli.main(['--help'])
heavy = {'structlog', 'psutil', 'daemon', 'rich', 'tomllib'}
heavy |= {'jobd.settings.daemon', 'jobd.settings.load', 'jobd.master', 'jobd.web', 'starlette'}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
sys.exit(code)
"""
    shown = python(code)
    assert shown.returncode == 0, shown.stderr
    assert "start" in shown.stdout


@pytest.mark.parametrize("group", [cli.jobd, jobctl])
def test_no_line_of_help_is_cut_off(group: click.Group) -> None:
    """At the width of a terminal that nobody has made larger."""
    shown = CliRunner().invoke(group, ["--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert "..." not in shown.stdout.partition("Commands:")[2]
    assert all(name in shown.stdout for name in group.commands)


def test_completion_works() -> None:
    code = "import sys; from jobd.cli.main import main; sys.exit(main())"
    shown = python(code, _JOBD_COMPLETE="bash_complete", COMP_WORDS="jobd ch", COMP_CWORD="1")
    assert "plain,check" in shown.stdout


@pytest.mark.parametrize(
    ("words", "answers"),
    {
        "jobd run -C ": ["file,"],
        "jobd web --config jo": ["file,jo"],
        "jobd check -r ": ["file,"],
        "jobd start --pidfile ": ["file,"],
        "jobd run --directory /s": ["dir,/s"],
        "jobd web --translations ": ["dir,"],
        "jobd run --log-level ": ["plain,debug", "plain,info", "plain,warning", "plain,error"],
        "jobd web --log-format j": ["plain,json"],
        "jobd run --redis ": [],
        "jobctl -P ": ["file,"],
        "jobctl --config ": ["file,"],
    }.items(),
)
def test_values_are_completed(words: str, answers: list[str]) -> None:
    """As a shell asks: file and dir are for it to look up."""
    program = words.partition(" ")[0]
    entry = {"jobd": "jobd.cli.main", "jobctl": "jobctl.cli"}[program]
    code = f"import sys; from {entry} import main; sys.exit(main())"
    at = str(len(words.split(" ")) - 1)
    asked = {f"_{program.upper()}_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": at}
    assert python(code, **asked).stdout.split() == answers


@pytest.mark.parametrize("command", ["start", "run", "check"])
def test_every_setting_has_its_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == Exit.OK
    shown = capsys.readouterr().out
    for one in SETTINGS:
        assert all(flag in shown for flag in one.flags)
    assert ("--no-wait" in shown) == (command == "start")


def test_the_dashboards_settings_have_their_flags_but_for_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["web", "--help"]) == Exit.OK
    shown = capsys.readouterr().out
    for one in WEB_SETTINGS:
        assert all((flag in shown) == (one.name in WEB_FLAGS) for flag in one.flags), one.name
    assert "--redis" in shown
    assert "--workers" not in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["strat"], "jobd has no command strat; did you mean start?"),
        (["run", "--bogus"], "No such option"),
        (["run", "-c"], "requires an argument"),
        (["run", "stray"], "unexpected extra argument (stray); give the application with -r"),
        (["demo", "--redis"], "requires an argument"),
    ],
)
def test_wrong_usage_is_one_line_and_64(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == Exit.USAGE
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert shown.err.startswith("jobd: ")
    assert text in shown.err


def test_without_a_command_help_and_64(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == Exit.USAGE
    assert "Usage: jobd" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["-V"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == Exit.OK
    assert capsys.readouterr().out.startswith("jobd ")


@pytest.mark.parametrize("command", ["start", "run"])
def test_wrong_settings_are_all_named_and_78(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main([command, "-r", "app", "-q", "a b", "-c", "-1", "-t", "soon"])
    assert code == Exit.CONFIG
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "jobd: 3 settings are wrong:"
    assert [line.split()[0] for line in lines[1:]] == [
        "-q/--queue",
        "-c/--concurrency",
        "-t/--timeout",
    ]


def test_a_missing_file_is_78(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "-C", "nowhere.toml"]) == Exit.CONFIG
    assert "nowhere.toml: No such file" in capsys.readouterr().err


def test_no_application_is_78(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run"]) == Exit.CONFIG
    assert "no application is given" in capsys.readouterr().err


def test_every_source_reaches_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("jobd.toml").write_text("workers = 3\nconcurrency = 3\ntimeout = 3", encoding="utf-8")
    monkeypatch.setenv("JOBD_CONCURRENCY", "4")
    monkeypatch.setenv("JOBD_TIMEOUT", "4")
    flags: dict[str, object] = {"require": ("a", "b"), "timeout": "5"}
    settings, reread = cli._load(None, flags)
    assert settings == Config(workers=3, concurrency=4, timeout=5.0, require=("a", "b"))
    Path("jobd.toml").write_text("workers = 3\nmax_retries = 9", encoding="utf-8")
    monkeypatch.setenv("JOBD_CONCURRENCY", "99")  # a reload sees the file anew, and nothing else
    monkeypatch.chdir("/")
    assert reread() == replace(settings, max_retries=9)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [([], None), (["--exit-on-crash-loop"], True), (["--no-exit-on-crash-loop"], False)],
)
def test_a_switch_has_a_flag_for_each_side(arguments: list[str], value: bool | None) -> None:
    context = cli.jobd.commands["run"].make_context("run", list(arguments))
    assert context.params["exit_on_crash_loop"] is value


def test_errors_become_one_sentence_and_their_code(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise UnavailableError("Redis is away")

    def interrupt() -> None:
        raise KeyboardInterrupt

    def abort() -> None:
        raise click.Abort

    assert cli._guarded(refuse) == Exit.UNAVAILABLE
    assert capsys.readouterr().err == "jobd: Redis is away\n"
    assert cli._guarded(interrupt) == Exit.INTERRUPTED
    assert cli._guarded(abort) == Exit.INTERRUPTED


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m jobd run --help | true"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert shown.stderr == ""


@pytest.mark.parametrize("command", ["stop", "status"])
def test_commands_of_jobctl_are_pointed_to(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command]) == Exit.USAGE
    assert f"jobctl {command}" in capsys.readouterr().err


def test_the_dashboard_imports_the_application_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobd.jobs.app import App, default
    from jobd.web.serving import server

    served: list[App] = []

    def serve(config: Config, web: object, app: App) -> int:
        served.append(app)
        return 0

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(server, "serve", serve)
    source = "from jobd import App\napp = App()\n@app.job\ndef sell(): ...\n"
    (tmp_path / "shop_of_web.py").write_text(source)
    assert cli.main(["web", "-r", "shop_of_web:app"]) == 0
    assert [one.name for one in served[0].registry.all()] == ["shop_of_web.sell"]
    assert cli.main(["web", "-r", "no_such_shop"]) == 0, "it serves all the same"
    assert cli.main(["web"]) == 0
    assert served[1:] == [default, default]
    assert "there is no module no_such_shop" in capsys.readouterr().err
