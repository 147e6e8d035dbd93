"""`jobd check`: every problem at once, and nothing changed by looking."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.cli import check as checks
from jobd.cli.check import check, main
from jobd.cli.report import Report
from jobd.errors import ApplicationError, Exit
from jobd.jobs import loading
from jobd.jobs.loading import Trial, attempt
from jobd.testing import EmbeddedServer
from tests.support.others import Nobody

APP = """
from jobd import job

@job
def hello():
    pass
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    return tmp_path


def look(url: str, **flags: object) -> Report:
    given: dict[str, object] = {"require": ("app",), "redis": url, "pidfile": "a.pid"}
    return check(None, {}, given | flags)


def test_when_all_is_fine_it_shows_what_is_in_effect(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str], app: Path
) -> None:
    before = sorted(app.iterdir())
    flags: dict[str, object] = {
        "require": ("app",),
        "redis": server.url,
        "pidfile": "a.pid",
        "logfile": "a.log",
        "queues": ("high,3", "default,1"),
    }
    assert main(None, {"JOBD_TIMEOUT": "20"}, flags) == Exit.OK
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "everything is fine" in shown.out
    assert "high,3 default,1" in shown.out
    assert "20 seconds" in shown.out
    assert "($JOBD_TIMEOUT)" in shown.out
    assert "app registers 1 job" in shown.out
    assert sorted(path for path in app.iterdir() if path.name != "__pycache__") == before


def test_a_queue_that_nobody_here_serves_is_warned_about(
    server: EmbeddedServer, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (app / "shop.py").write_text("from jobd import job\n@job(queue='mail')\ndef send(): ...\n")
    flags: dict[str, object] = {"require": ("app", "shop"), "redis": server.url, "pidfile": "a.pid"}
    assert main(None, {}, flags) == Exit.OK
    shown = capsys.readouterr()
    assert "go to the queue mail, which this daemon does not serve" in shown.err
    assert "-q default -q mail" in shown.err
    assert "but see the warnings" in shown.out


def test_the_queue_of_a_periodic_section_is_one_too_unless_the_job_is_foreign(
    server: EmbeddedServer, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = '[[periodic]]\njob = "Report"\nevery = 60\n'
    file = app / "periodic.toml"
    file.write_text(
        f'{section}queue = "night"\n{section}name = "of Ruby"\nqueue = "ruby"\nforeign = true\n'
    )
    flags: dict[str, object] = {"require": ("app",), "redis": server.url, "pidfile": "a.pid"}
    assert main(str(file), {}, flags) == Exit.OK
    assert "go to the queue night, which this daemon does not serve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "elsewhere"),
    [
        ("'redis://:secret@10.0.0.1/3'", "10.0.0.1:6379/3"),
        ("'redis://10.0.0.1', 'shop:'", "10.0.0.1:6379/0 with the prefix shop:"),
        ("", "127.0.0.1:6379/0"),
        ("SERVER", ""),
        ("SERVER, 'shop:'", "with the prefix shop:"),
        ("redis=redis.Redis()", ""),
        ("'no URL'", ""),
    ],
)
def test_an_application_that_pushes_elsewhere_is_warned_about(
    call: str, elsewhere: str, server: EmbeddedServer, app: Path
) -> None:
    source = f"import jobd, redis\nSERVER = {server.url!r}\njobd.configure({call})\n"
    (app / "shop.py").write_text(source)
    report = look(server.url, require=("app", "shop"))
    assert not report.problems
    found = [text for text in report.warnings if "calls configure()" in text]
    assert len(found) == bool(elsewhere)
    assert not found or f"{elsewhere}, but this daemon takes jobs from" in found[0]
    assert "secret" not in "".join(found)


def test_every_problem_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken.pid").write_text("some text", encoding="utf-8")
    flags: dict[str, object] = {
        "require": ("nowhere",),
        "concurrency": "-1",
        "queues": ("a/b",),
        "logfile": "missing/a.log",
        "pidfile": "taken.pid",
        "redis": "redis://app:geheim@127.0.0.1:1/0",
    }
    assert main(None, {}, flags) == Exit.CONFIG
    shown = capsys.readouterr()
    assert "geheim" not in shown.err
    lines = shown.err.splitlines()
    assert lines[0] == "jobd: 6 problems:"
    beginnings = (
        "-q/--queue has the queue name",
        "-c/--concurrency must be at least 1",
        "cannot import the application nowhere",
        "cannot open the log file",
        "cannot create the pidfile",
        "Redis at redis://app:***@127.0.0.1:1/0 does not answer",
    )
    found = sorted(line.removeprefix("  - ") for line in lines[1:])
    assert all(one.startswith(start) for one, start in zip(found, sorted(beginnings), strict=True))


def test_the_code_is_that_of_the_first_problem(server: EmbeddedServer) -> None:
    assert look(server.url, require=("nowhere",)).code == Exit.NO_APPLICATION
    assert look(server.url, require=()).code == Exit.CONFIG
    assert look(server.url, logfile="no/where.log").code == Exit.CANNOT_CREATE
    assert look(server.url, pidfile="no/where.pid").code == Exit.CANNOT_CREATE
    assert look(server.url, directory="no/where").code == Exit.CONFIG
    assert look("redis://127.0.0.1:1/0").code == Exit.UNAVAILABLE


def test_a_file_that_cannot_be_read_is_the_only_problem(app: Path) -> None:
    (app / "jobd.toml").write_text('require = ["app"]\nredis = [')
    report = check("jobd.toml", {}, {})
    ((code, text),) = report.problems
    assert (code, report.warnings) == (Exit.CONFIG, [])
    assert text.startswith("jobd.toml is not TOML: ")


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.cli.check_redis.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = look(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert [code for code, _ in report.problems] == [Exit.UNAVAILABLE]


def test_a_server_that_may_evict_jobs_is_warned_about(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        report = look(server.url)
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert not report.problems
    assert any("allkeys-lru" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("save", "append_only", "warned"),
    [("", "no", True), ("3600 1", "no", False), ("", "yes", False)],
)
def test_a_server_that_writes_nothing_to_disk_is_warned_about(
    server: EmbeddedServer, redis: redis_py.Redis, save: str, append_only: str, warned: bool
) -> None:
    before: Any = redis.config_get("save", "appendonly")
    redis.config_set("save", save)
    redis.config_set("appendonly", append_only)
    try:
        report = look(server.url)
    finally:
        for name, value in before.items():
            redis.config_set(name, value)
    assert any("writes nothing to disk" in text for text in report.warnings) == warned


def test_a_server_that_is_nearly_full_is_warned_about(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    memory: Any = redis.info("memory")
    redis.config_set("maxmemory", int(memory["used_memory"] * 1.1))
    try:
        report = look(server.url)
    finally:
        redis.config_set("maxmemory", 0)
    assert not report.problems
    assert any("of its memory limit" in text for text in report.warnings)
    assert not any("of its memory" in text for text in look(server.url).warnings)


def test_a_mistyped_variable_and_an_empty_application_are_warned_about(
    server: EmbeddedServer, app: Path
) -> None:
    (app / "empty.py").write_text("", encoding="utf-8")
    flags: dict[str, object] = {"require": ("empty",), "redis": server.url, "pidfile": "a.pid"}
    report = check(None, {"JOBD_CONCURENCY": "3"}, flags)
    assert not report.problems
    assert len(report.warnings) == 2


def test_amounts_are_in_the_units_of_people(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    flags: dict[str, object] = {"require": ("app",), "redis": server.url, "pidfile": "a.pid"}
    assert main(None, {}, flags | {"concurrency": "1", "poll_interval": "0.25"}) == Exit.OK
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert shown["workers"].strip() == "1 process"
    assert shown["concurrency"].startswith("1 thread ")
    assert shown["timeout"].strip() == "8 seconds"
    assert shown["poll_interval"].startswith("0.25 seconds ")
    assert shown["reload_timeout"].strip() == "1 hour"
    assert shown["dead_timeout"].strip() == "180 days"
    assert shown["dead_max_jobs"].strip() == "10,000 jobs"


@pytest.mark.parametrize("booted", [True, False])
def test_the_run_directory_is_left_to_systemd_where_there_is_one(
    server: EmbeddedServer, app: Path, monkeypatch: pytest.MonkeyPatch, booted: bool
) -> None:
    monkeypatch.setattr(checks, "DEFAULT_PIDFILE", str(app / "run" / "jobd.pid"))
    monkeypatch.setattr(checks, "_SYSTEMD", app if booted else app / "none")
    report = check(None, {}, {"require": ("app",), "redis": server.url})
    assert not report.problems
    told = "does not exist yet; systemd creates it for the service (RuntimeDirectory)"
    assert any(told in fact for fact in report.facts) == booted
    assert any("cannot create the pidfile" in text for text in report.warnings) != booted
    explicit = check(None, {}, {"require": ("app",), "redis": server.url, "pidfile": "run/a.pid"})
    assert [code for code, _ in explicit.problems] == [Exit.CANNOT_CREATE]


def test_without_a_pidfile_setting_its_directory_is_no_problem(server: EmbeddedServer) -> None:
    report = check(None, {}, {"require": ("app",), "redis": server.url})
    assert not report.problems


@pytest.mark.parametrize("content", [b"", b"1234\n", b"1234"])
def test_an_old_pidfile_is_fine(server: EmbeddedServer, content: bytes) -> None:
    Path("a.pid").write_bytes(content)
    assert not look(server.url).problems


@pytest.mark.parametrize("setting", ["pidfile", "logfile"])
def test_a_directory_is_no_file(server: EmbeddedServer, app: Path, setting: str) -> None:
    (app / "dir").mkdir()
    ((code, text),) = look(server.url, **{setting: "dir"}).problems
    assert code == Exit.CANNOT_CREATE
    assert "it is a directory" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written_is_named(server: EmbeddedServer, app: Path) -> None:
    (app / "locked").mkdir(mode=0o500)
    report = look(server.url, pidfile="locked/a.pid", logfile="locked/a.log")
    assert len(report.problems) == 2
    assert all("is not writable" in text for _, text in report.problems)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("1 / 0", "ZeroDivisionError: division by zero (/"),
        ("def f(:", "invalid syntax (/"),
        ("import jobd\n\n@jobd.job(queue='my mail')\ndef f(): ...", "broken.py, line 3)"),
        ("import sys; sys.exit(3)", "it called sys.exit(3)"),
        ("import os; os._exit(3)", "ended the process with exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "signal SIGSEGV"),
        (
            "class E(Exception):\n    def __str__(self): 1 / 0\nraise E",
            "E: <E whose str() raises ZeroDivisionError>",
        ),
    ],
)
def test_an_application_that_does_not_import(app: Path, source: str, text: str) -> None:
    (app / "broken.py").write_text(source, encoding="utf-8")
    trial = attempt(["broken"], "", 30)
    assert text in trial.error
    assert "\n" not in trial.error


def test_an_import_that_hangs_is_killed_with_what_it_started(app: Path) -> None:
    (app / "slow.py").write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('started', 'w').write(str(child.pid))\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    trial = attempt(["slow"], str(app), 2)
    assert "took longer than 2 s" in trial.error
    started = int((app / "started").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{started}").exists() and time.monotonic() < deadline:
        try:
            os.waitpid(started, os.WNOHANG)  # ours to reap where the tests are its subreaper
        except ChildProcessError:
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(started, signal.SIGKILL)


def test_what_an_import_prints_or_leaves_running_does_not_matter(app: Path) -> None:
    (app / "noisy.py").write_text(
        "import subprocess, sys, threading, time\n"
        "print('x' * 1_000_000); print('x' * 1_000_000, file=sys.stderr)\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n",
        encoding="utf-8",
    )
    assert attempt(["noisy"], "", 30).error == ""


def test_threads_that_an_import_starts_matter_to_preload(app: Path, server: EmbeddedServer) -> None:
    (app / "noisy.py").write_text(
        "import threading, time\n"
        "def beat(): time.sleep(600)\n"
        "threading.Thread(target=beat, name='metrics').start()\n",
        encoding="utf-8",
    )
    place = f"metrics, started in {app / 'noisy.py'}, line 3"
    assert attempt(["noisy"], "", 30).threads == place
    assert look(server.url, require=["noisy"]).problems == []
    [(code, text)] = look(server.url, require=["noisy"], preload=True).problems
    assert code == Exit.NO_APPLICATION
    assert place in text


def test_a_file_in_a_package_is_imported_under_its_full_name(app: Path) -> None:
    package = app / "shop" / "orders"
    package.mkdir(parents=True)
    (app / "shop" / "__init__.py").touch()
    (package / "__init__.py").touch()
    check_name = "assert __name__ == 'shop.orders.jobs', __name__"
    (package / "jobs.py").write_text(check_name, encoding="utf-8")
    assert attempt(["shop/orders/jobs.py"], "", 30) == Trial("")
    assert attempt(["shop.orders.jobs"], "", 30) == Trial("")
    assert attempt(["./orders/jobs.py"], str(app / "shop"), 30) == Trial("")


def test_a_file_whose_name_is_taken_is_refused(app: Path) -> None:
    (app / "signal.py").write_text("", encoding="utf-8")
    assert "the module name signal already belongs to" in attempt(["signal.py"], "", 30).error


def test_a_file_that_is_not_there_is_named(app: Path) -> None:
    with pytest.raises(ApplicationError, match=r"there is no file .*/none\.py"):
        loading.load(["./none.py"], str(app))


# -- the address for health ------------------------------------------------------------------------


def health_problems(url: str, address: str) -> list[tuple[Exit, str]]:
    return [one for one in look(url, health=address).problems if "health" in one[1]]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_address_for_health_that_is_taken_is_a_problem(
    server: EmbeddedServer, family: socket.AddressFamily
) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_STREAM) as other:
        try:
            other.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        port = other.getsockname()[1]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        other.listen()
        [(code, text)] = health_problems(server.url, shown)
        assert code == Exit.CANNOT_CREATE
        assert f"cannot listen on {shown} for health: Address already in use" in text
    assert health_problems(server.url, shown) == []
    with socket.socket(family, socket.SOCK_STREAM) as taken:  # the check has left it free
        taken.bind((host, port))


def test_an_address_for_health_that_is_not_here_or_not_permitted_is_a_problem(
    server: EmbeddedServer,
) -> None:
    [(code, text)] = health_problems(server.url, "192.0.2.1:7433")
    assert (code, "Cannot assign requested address" in text) == (Exit.CANNOT_CREATE, True)
    [(code, text)] = health_problems(server.url, "nowhere.invalid:7433")
    assert code == Exit.CANNOT_CREATE
    assert "cannot listen on nowhere.invalid:7433" in text
    [(code, text)] = health_problems(server.url, "7433")
    assert (code, "must be HOST:PORT" in text) == (Exit.CONFIG, True)


def test_a_socket_for_health(server: EmbeddedServer, app: Path) -> None:
    path = app / "health.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()
        [(code, text)] = health_problems(server.url, str(path))
        assert (code, "Address already in use" in text) == (Exit.CANNOT_CREATE, True)
    assert path.is_socket()  # a dead daemon has left it behind
    assert health_problems(server.url, str(path)) == []
    assert path.is_socket()
    link = app / "link.sock"
    link.symlink_to(path)
    assert health_problems(server.url, str(link)) == []
    path.unlink()
    [(_, text)] = health_problems(server.url, str(link))
    assert f"a symbolic link to {path}, which does not exist" in text
    path.write_text("of somebody else")
    [(_, text)] = health_problems(server.url, str(path))
    assert "a file that is not a socket" in text
    assert path.read_text() == "of somebody else"
    [(_, text)] = health_problems(server.url, str(app / "no" / "health.sock"))
    assert f"the directory {app / 'no'} does not exist" in text


def test_the_command_ends_with_the_code_of_the_health_address(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {"require": ("app",), "redis": server.url, "pidfile": "a.pid"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert main(None, {}, {**flags, "health": address}) == Exit.CANNOT_CREATE
    told = capsys.readouterr().err
    assert "jobd: 1 problem:" in told
    assert address in told


def test_a_user_who_may_not_listen_there_is_told_so(
    server: EmbeddedServer, nobody: Nobody, app: Path
) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("here every user may listen on port 80")
    app.chmod(0o755)
    for address, why in (
        ("127.0.0.1:80", "cannot listen on 127.0.0.1:80 for health: Permission denied"),
        ("/proc/health.sock", "the directory /proc is not writable for this user"),
    ):
        done = nobody(
            "-m", "jobd", "check", "-r", "json", "--redis", server.tcp_url, "--health", address
        )
        assert done.returncode == Exit.CANNOT_CREATE, done.stderr
        assert why in done.stderr
