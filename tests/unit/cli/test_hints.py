"""What people type by mistake is told them, with the command that does what they want."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from jobctl import cli as jobctl
from jobd.cli import hints
from jobd.cli import main as jobd
from jobd.jobs import loading

MISTAKES = {
    "jobctl top": "it needs a terminal; jobctl stats --watch writes lines",
    "jobd top": "use jobctl to control a running daemon: jobctl top",
    "jobctl ps": "jobctl status shows",
    "jobctl info": "jobctl status shows",
    "jobctl stauts": "did you mean stats or status?",
    "jobctl relaod": "did you mean reload?",
    "jobctl reopen_logs": "did you mean reopen-logs?",
    "jobctl kill": "jobctl stop stops the daemon",
    "jobctl restart": "jobctl reload replaces the workers, with new code",
    "jobctl start": "use jobd to start a daemon: jobd start",
    "jobctl run": "use jobd to start a daemon: jobd run",
    "jobctl check": "this is a command of jobd: jobd check",
    "jobctl web": "this is a command of jobd: jobd web",
    "jobctl help": "jobctl --help lists the commands",
    "jobctl retry": "dead and jobs find show the jobs in Redis",
    "jobctl queues list": "jobctl queues has no command list; it has clear, ls, move, ",
    "jobctl dead retyr": "did you mean retry?",
    "jobctl logs": "jobctl status shows where the log is",
    "jobctl pause": "jobctl quiet",
    "jobctl pause mail": "jobctl queues pause NAME pauses a queue",
    "jobctl stop --force": "--timeout 0 stops at once, --kill kills the daemon if it does not stop",
    "jobctl stop -t 5": "--timeout SECONDS limits how long running jobs may take",
    "jobctl stop 5": "--timeout SECONDS limits how long running jobs may take",
    "jobctl stop worker.0": "jobctl retire worker.0 replaces a single worker",
    "jobctl reload worker.0": "jobctl retire worker.0 replaces a single one",
    "jobctl quiet mail": "it quiets the whole daemon",
    "jobctl status worker.0": "jobctl threads worker.0 shows what one of them is doing",
    "jobctl status --watch": "use watch -n 1 jobctl status to repeat it",
    "jobctl xyzzy": "jobctl has no command xyzzy; see jobctl --help",
    "jobctl stop --json": "No such option",
    "jobctl stop --timout 3": "; did you mean --timeout?; see jobctl stop --help",
    "jobctl batch close 0 --yes": ": this command does not ask; see jobctl batch close --help",
    "jobctl queues pause mail --yes": ": this command does not ask; see jobctl queues pause --help",
    "jobctl --json stop": "stop has no --json: it controls the daemon on this host",
    "jobctl -P jobd.pid queues ls": "jobctl queues ls has no --pidfile: it works on Redis",
    "jobctl dead retry": "give the ids of jobs, or filters such as --class, or --all",
    "jobctl dead retry abc --all": "give the ids of jobs, or filters such as --class, or --all",
    "jobctl dead delete --older soon": "soon is not a time such as 90s, 15m, 2h or 3d",
    "jobctl retries reschedule --all": "give the time with --in",
    "jobctl retries reschedule --all --in 12000d": "12000d is too long: it must be less than 1,0",
    "jobctl push A --in 1700w": "1700w is too long: it must be less than 1,000,000,000 seconds",
    "jobctl jobs find": "give a text to look for, or filters such as --arg",
    "jobctl processes stop": "give the identities of processes, or --all",
    "jobctl push A --kwarg b": "b is not NAME=VALUE",
    "jobctl push A --option args=[1]": "--option args: the command line says that already",
    "jobctl push A -q b --option queue=c": "--option queue: the command line says that already",
    "jobctl push A --retry often": "often is not a number of retries",
    "jobctl stats --redis ftp://x": "must be redis://HOST:PORT/DB",
    "jobctl --kill stop": "give it after the command, jobctl stop --kill …",
    "jobctl stop --timeout 2m": "2m is not a number of seconds from 0 to 86400",
    "jobctl stop --timeout -1": "-1 is not a number of seconds",
    "jobctl stop --timeout nan": "nan is not a number of seconds",
    "jobctl reload --timeout 3": "--timeout requires --wait",
    "jobctl retire keeper": "keeper is not a worker; give a name shown by jobctl status",
    "jobctl retire": "Missing argument 'SLOT'; see jobctl retire --help",
    "jobctl scale many": "many is not a number of workers, such as 4; see jobctl scale --help",
    "jobctl scale 0": "jobctl quiet stops fetching jobs, jobctl stop stops the daemon",
    "jobctl scale 1.5": "1.5 is not a number of workers",
    "jobd status": "use jobctl to control a running daemon: jobctl status",
    "jobd scale 3": "use jobctl to control a running daemon: jobctl scale",
    "jobd restart": "jobctl reload replaces the workers",
    "jobd worker": "jobd run runs in the foreground",
    "jobd chekc": "did you mean check?",
    "jobd -r app": "give it after the command, jobd start -r …",
    "jobd -C jobd.toml run": "give it after the command, jobd start -C …",
    "jobd run app": "unexpected extra argument (app); give the application with -r",
    "jobd run -r app -q mail,": "a weight belongs there, as in mail,2",
    "jobd run -r app -q mail,low": "give each its own, -q mail -q low, ",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_explained_in_a_line(
    line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tool, *arguments = line.split()
    main = jobctl.main if tool == "jobctl" else jobd.main
    assert main(arguments) in (2, 64, 78)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith(f"{tool}: ")
    assert MISTAKES[line] in shown.err


def groups() -> list[str]:
    context = click.Context(jobctl.jobctl)
    commands = {
        name: jobctl.jobctl.get_command(context, name)
        for name in jobctl.jobctl.list_commands(context)
    }
    return [name for name, command in commands.items() if isinstance(command, click.Group)]


@pytest.mark.parametrize("group", groups())
def test_a_group_without_a_command_shows_its_help(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jobctl.main([group]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"Usage: jobctl {group} ")


def test_of_what_is_no_near_miss_nothing_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a list of processes it was said that the daemon might be stopped."""
    for word in ("ps", "tasks", "post", "shop", "scare", "quit"):
        jobctl.main([word])
        assert "did you mean stop" not in capsys.readouterr().err
    jobctl.main(["batch", "close", "0", "--yes"])  # it was taken for --redis
    assert "id you mean" not in capsys.readouterr().err


REQUIRED = {
    "shop.welcome": "welcome is not a module, but a function or class in the module shop: "
    "give -r shop",
    "shop.PRICE": "PRICE is not a module, but something in the module shop: give -r shop",
    "shop.nothing": "the module shop has no nothing; to load the module, give -r shop",
    "shop:welcome": "welcome is of type function, not a jobd.App; give -r shop:app",
    "shop:nothing": "the module shop has no nothing; give -r shop:app",
    "orders:app": "the module orders has no app; give -r orders",
    "shop.py:PRICE": "PRICE is of type int, not a jobd.App; give -r shop.py:app",
    "./shop.py:nothing": "the module shop has no nothing; give -r ./shop.py:app",
    "shop.app": "app is a jobd.App in the module shop: give -r shop:app",
    "shop:make()": "only the name of a jobd.App may follow a colon: -r shop",
    "./shop.py:make()": "only the name of a jobd.App may follow a colon: -r ./shop.py",
    "shpo:app": "did you mean shop?",
    "shop,orders": "give each module its own -r: -r shop -r orders",
    "shpo": "did you mean shop?",
    "orders/jobs": "did you mean orders/jobs.py?",
    "./orders": "./orders is a directory; name a module in it, -r orders.NAME, or a file",
    "orders.jobs.py": "did you mean orders/jobs.py, or orders.jobs?",
    "orders.nothing": "there is no module orders.nothing in ",
    "./lost.py": "ModuleNotFoundError: No module named 'missing' (",
    ".shop": "a module name does not start with a dot",
    "nothing.py": "there is no file ",
    "orders.jbos": "did you mean orders.jobs?",
    "oders.jobs": "did you mean orders.jobs?",
    "billing": "/src: give --directory src",
    "billing.jobs": "/src: give --directory src",
    "elsewhere": "start jobd in the application's directory or set directory",
}


@pytest.mark.parametrize("name", REQUIRED)
def test_what_was_meant_by_require_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(
        "import jobd\nPRICE = 3\napp = jobd.App()\ndef welcome(): ...\n"
    )
    (tmp_path / "lost.py").write_text("import missing\n")
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "__init__.py").touch()
    (tmp_path / "orders" / "jobs.py").touch()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "billing.py").touch()
    trial = loading.attempt([name], str(tmp_path), 30)
    assert REQUIRED[name] in trial.error
    assert trial.error.startswith(f"cannot import the application {name}: ")


def test_each_tool_knows_the_commands_of_the_other() -> None:
    groups = {"jobd": jobd.jobd, "jobctl": jobctl.jobctl}
    assert {name: set(known) for name, known in hints.COMMANDS.items()} == {
        name: set(group.list_commands(click.Context(group))) for name, group in groups.items()
    }
