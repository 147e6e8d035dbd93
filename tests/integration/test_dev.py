"""``jobd dev``: serves the code that was saved last, says what it does, leaves nothing behind."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.dev import dashboard
from jobd.testing import EmbeddedServer
from tests.support import processes
from tests.support.daemon import environment, wait

APP = """\
import os
import redis
from jobd import job

notes = redis.Redis.from_url(os.environ["JOBD_REDIS"])

@job(queue="mail")
def welcome():
    notes.rpush("test:said", "one")
"""


class Dev:
    """One ``jobd dev`` in a directory of its own, and what it has said."""

    def __init__(self, directory: Path, server: EmbeddedServer, scratch: Path) -> None:
        self.directory = directory
        self.app = directory / "shop.py"
        self.app.write_text(APP)
        self._output = scratch / "output"
        temporary = {"TMPDIR": str(scratch / "tmp"), "XDG_RUNTIME_DIR": str(scratch / "tmp")}
        self.environment = environment({**temporary, "JOBD_REDIS": server.url})
        # As it is for developers: whoever sets it everywhere would not see old code served.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.scratch = scratch / "tmp"
        self.scratch.mkdir()
        self._mark = 0
        self.started: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        with self._output.open("wb") as output:
            self.started = subprocess.Popen(
                [*prefix, sys.executable, "-m", "jobd", "dev", *arguments],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self.started is not None
        return self.started

    def says(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Wait until it has said *pattern* after what was waited for last."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None or re.search(pattern, self.new), self.said
            return re.search(pattern, self.new)

        match: re.Match[str] = wait(found, seconds, f"it says {pattern}; it said:\n{self.said}")
        self._mark += match.end()
        return match

    @property
    def said(self) -> str:
        return self._output.read_text()

    @property
    def new(self) -> str:
        return self.said[self._mark :]

    def ready(self) -> None:
        self.says(r"jobd dev  ready\n")

    def save(self, text: str, name: str = "shop.py") -> None:
        """As most editors do: a new file in place of the old one."""
        other = self.directory / f".{name}.new"
        other.write_text(text)
        other.rename(self.directory / name)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)
        assert self.process.wait(40) == 0, self.said
        assert self.said.endswith("jobd dev  stopped; nothing is left behind\n")
        assert list(self.scratch.iterdir()) == []


@pytest.fixture
def dev(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Dev]:
    directory, scratch = tmp_path / "shop", Path(f"/tmp/dev-{os.getpid()}-{time.monotonic_ns()}")
    directory.mkdir()
    scratch.mkdir()
    made = Dev(directory, server, scratch)
    try:
        yield made
    finally:
        if made.started and made.started.poll() is None:
            made.stop()
        shutil.rmtree(scratch)
        processes.reap()
    assert processes.descendants() == []


def answers(redis: redis_py.Redis, server: EmbeddedServer) -> str:
    """What the job says that is pushed now."""
    Client(server.url).push({"class": "shop.welcome", "args": [], "queue": "mail"})
    said = redis.blpop("test:said", timeout=30)
    assert isinstance(said, tuple)
    assert isinstance(said[1], bytes)
    return said[1].decode()


def test_it_lists_the_jobs_and_serves_their_queues(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    dev.start("-r", "shop")
    dev.says(r"jobd dev  dashboard: http://127\.0\.0\.1:\d+/\n")
    dev.says(rf"jobd dev  watching {dev.directory}; Ctrl-C ends everything\n")
    dev.says(r"jobd dev  1 job:\njobd dev    shop.welcome  \(queue mail\)\n")
    pidfile = dev.says(r"jobctl -P (\S+) status")[1]
    dev.ready()
    assert answers(redis, server) == "one"
    shown = subprocess.run(
        [sys.executable, "-m", "jobctl", "-P", pidfile, "status"],
        env=dev.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "worker.0" in shown.stdout, shown


def test_what_is_saved_is_served_even_in_the_same_second_with_the_same_size(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    """Python would take its compiled file for current."""
    dev.start("-r", "shop", "--no-dashboard")
    dev.ready()
    assert answers(redis, server) == "one"
    before = dev.app.stat()
    dev.save(APP.replace("one", "two"))
    os.utime(dev.app, ns=(before.st_atime_ns, before.st_mtime_ns))
    dev.says(r"shop\.py changed: reloading\n(?s:.*)jobd dev  reloaded in ")
    assert answers(redis, server) == "two"
    assert not list(dev.directory.rglob("*.pyc"))
    # What the processes of the daemon say of themselves is left out.
    assert "job_done" in dev.said
    assert not re.search(r"child_|worker_|state_changed|command_received", dev.said)


def test_after_a_syntax_error_the_old_code_keeps_running(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    dev.start("-r", "shop", "--no-dashboard")
    dev.ready()
    dev.save(APP.replace("def welcome():", "def welcome(:"))
    said = dev.says(r"jobd dev  not reloaded: (.*)\njobd dev  (.*)\n")
    assert f"({dev.app}, line 8)" in said[1]
    assert said[2] == "the old code keeps running; save a correction"
    assert "SyntaxError: " in dev.said  # with the line, in the log
    assert "reload_failed" not in dev.said
    assert answers(redis, server) == "one"
    dev.save(APP.replace("one", "two"))
    dev.says("reloaded in ")
    assert answers(redis, server) == "two"


def test_an_error_at_the_start_waits_for_its_correction(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    dev.app.write_text("import shpo_settings\n")
    dev.start("-r", "shop", "--no-dashboard")
    dev.says(r"No module named 'shpo_settings' .*\njobd dev  it starts again when a file changes\n")
    dev.save(APP)
    dev.says(r"shop\.py changed: starting again\n")
    dev.ready()
    assert answers(redis, server) == "one"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_import_that_hangs_does_not_hold_up_the_end(dev: Dev, ending: signal.Signals) -> None:
    hangs = "import pathlib, time\npathlib.Path('imported').touch()\ntime.sleep(600)\n"
    dev.app.write_text(hangs)
    dev.start("-r", "shop", "--no-dashboard")
    wait((dev.directory / "imported").exists, 60, "it is imported")
    if ending is signal.SIGINT:
        began = time.monotonic()
        dev.stop()
        assert time.monotonic() - began < 30
    else:
        dev.process.kill()
        dev.process.wait()

        def gone() -> bool:
            processes.reap()
            return not processes.descendants()

        wait(gone, 30, "all have gone")


def test_a_new_job_is_listed_and_its_new_queue_served(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    dev.start("-r", "shop", "--no-dashboard")
    dev.ready()
    dev.save(APP + '\n@job(queue="slow")\ndef later():\n    notes.rpush("test:said", "later")\n')
    dev.says(r"starting again, to serve the queue slow\n")
    dev.says(r"jobd dev  jobs:\njobd dev    shop.later  \(queue slow\)\n")
    dev.ready()
    Client(server.url).push({"class": "shop.later", "args": [], "queue": "slow"})
    assert redis.blpop("test:said", timeout=30) == (b"test:said", b"later")
    dev.save(APP)
    dev.says(r"jobd dev    shop.later is gone\n")


def test_the_queue_that_a_periodic_section_names_is_served(dev: Dev, redis: redis_py.Redis) -> None:
    (dev.directory / "jobd.toml").write_text(
        'require = ["shop"]\n[[periodic]]\njob = "shop.welcome"\nevery = 1\nqueue = "nightly"\n'
    )
    dev.start("--no-dashboard")
    dev.ready()
    assert redis.blpop("test:said", timeout=30) is not None


def test_the_configuration_file_is_followed(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    """Its settings of production are replaced, such as a log file; its mistakes change nothing."""
    (dev.directory / "jobd.toml").write_text(
        'require = ["shop"]\nqueues = ["other,2"]\nworkers = 3\nlogfile = "/nowhere/jobd.log"\n'
        'user = "shop-user"\npidfile = "/nowhere/jobd.pid"\n'
    )
    dev.start("--no-dashboard", "--log-level", "debug")
    dev.says("master_starting .*workers=1\n")
    dev.ready()
    dev.save('require = ["shop"\n', "jobd.toml")
    dev.says(r"jobd dev  the settings stay as they were: jobd\.toml is not TOML: ")
    assert answers(redis, server) == "one"
    dev.save('require = ["shop"]\n[environments.development]\nworkers = 2\n', "jobd.toml")
    dev.says("the configuration file has changed: starting again\n")
    dev.says("master_starting .*workers=2\n")
    dev.ready()
    assert answers(redis, server) == "one"


def test_with_preload_it_starts_again(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    dev.start("-r", "./shop.py", "--preload", "--no-dashboard")
    dev.ready()
    dev.save(APP.replace("one", "two"))
    dev.says(r"shop\.py changed: starting again, because of preload\n")
    dev.ready()
    assert answers(redis, server) == "two"


def test_a_job_that_runs_does_not_hold_up_the_end(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    """It goes back to its queue."""
    stays = "def welcome():\n    import time\n    notes.rpush('test:said', 'x'); time.sleep(600)"
    dev.app.write_text(APP.replace("def welcome():", stays))
    dev.start("-r", "shop", "--no-dashboard", "--log-level", "debug")
    dev.ready()
    assert answers(redis, server) == "x"
    dev.stop()
    assert "worker_stopping  running=1 seconds=2\n" in dev.said
    assert redis.llen("queue:mail") == 1


def in_a_network_of_its_own() -> tuple[str, ...]:
    """A prefix of a command that finds no server at the usual port, whatever runs here."""
    unshare, ip = shutil.which("unshare"), shutil.which("ip")
    prefix = (str(unshare), "--net", "sh", "-ec", f'{ip} link set lo up\nexec "$@"', "sh")
    if not unshare or not ip or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("a network of its own needs root, unshare and ip")
    return prefix


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_without_a_server_it_starts_one_and_leaves_nothing(
    dev: Dev, ending: signal.Signals
) -> None:
    dev.app.write_text(APP.replace('os.environ["JOBD_REDIS"]', '"redis://127.0.0.1:6379/0"'))
    del dev.environment["JOBD_REDIS"]
    dev.start("-r", "shop", prefix=in_a_network_of_its_own())
    dev.says(r"Redis: redis://127\.0\.0\.1:6379/0, started for this session; its data ends with it")
    dev.ready()
    push = "import shop; shop.welcome.perform_async(); print(shop.notes.blpop('test:said', 30)[1])"
    net = f"--net=/proc/{dev.process.pid}/ns/net"
    said = subprocess.run(
        ["nsenter", net, sys.executable, "-c", push],
        cwd=dev.directory,
        env=dev.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == "b'one'\n", said
    started = processes.descendants()
    assert len(started) > 5
    if ending is not signal.SIGKILL:
        dev.stop(ending)
        return
    dev.process.kill()
    dev.process.wait()

    def gone() -> bool:
        processes.reap()
        return not any(one.is_running() and one.status() != "zombie" for one in alive(started))

    wait(gone, 40, "server, daemon and dashboard have gone")


def alive(started: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in started if one.is_running()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no application is given: name its module or file with -r, e.g. -r shop"),
        (("-r", "shop", "-c", "none"), "-c/--concurrency"),
    ],
)
def test_settings_that_are_wrong_end_it(dev: Dev, arguments: tuple[str, ...], said: str) -> None:
    dev.start(*arguments)
    assert dev.process.wait(60) == 78
    assert f"jobd: {said}" in dev.said
    assert list(dev.scratch.iterdir()) == []


def test_the_dashboard_moves_if_its_port_is_taken(dev: Dev) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (dev.directory / "jobd.toml").write_text(f'require = ["shop"]\n[web]\nport = {port}\n')
        dev.start()
        address = dev.says(r"jobd dev  dashboard: (http://\S+)\n")[1]
        dev.ready()
        assert f":{port}/" not in address
        with urllib.request.urlopen(f"{address}healthz", timeout=30) as answer:
            assert answer.read() == b"ok\n"


def test_a_dashboard_that_is_too_slow_is_given_up_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "_START_SECONDS", 0.0)
    said = dashboard.Dashboard([], {}, tmp_path / "web.out").start()
    assert said == "no dashboard: it did not start within 0 seconds"
    assert processes.descendants() == []


def test_on_a_terminal_the_log_has_colours_and_ctrl_c_ends_it(dev: Dev) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(dev.directory)
        command = [sys.executable, "-m", "jobd", "dev", "-r", "shop", "--no-dashboard"]
        os.execve(sys.executable, command, {**dev.environment, "TERM": "xterm"})
    said = b""
    asked = False
    while True:
        try:
            said += os.read(terminal, 65536)
        except OSError:
            break
        if not asked and b"jobd dev  ready" in said:
            asked = True
            os.write(terminal, b"\x03")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert said.endswith(b"jobd dev  stopped; nothing is left behind\r\n")
    assert b"\x1b[33mWARNING" in said or os.geteuid()  # running_as_root
    assert b"state_changed" not in said


def test_without_watchfiles_it_says_what_to_install(tmp_path: Path) -> None:
    missing = "import sys; sys.modules['watchfiles'] = None; from jobd.cli.main import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{missing} sys.exit(main(['dev', '-r', 'shop']))"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert done.stderr == (
        "jobd: jobd dev needs the package watchfiles: run pip install 'pyjobd[dev]'\n"
    )


@pytest.mark.alone
def test_saved_code_is_served_within_a_second(
    dev: Dev, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    dev.start("-r", "shop")
    dev.ready()
    seconds = []
    for number in range(5):
        word = f"word{number}"
        began = time.monotonic()
        dev.save(APP.replace("one", word))
        while answers(redis, server) != word:
            assert time.monotonic() - began < 30
            time.sleep(0.02)  # what a developer pushes leaves room for the new worker
        seconds.append(time.monotonic() - began)
        dev.says("reloaded in ")
    print(f"saved code is served after {[round(one, 2) for one in seconds]} s")
    # The best one: the others depend on what else this machine does.
    assert min(seconds) < 1.0, seconds


DJANGO_SETTINGS = """\
import os
SECRET_KEY = "x"
INSTALLED_APPS = ["jobd.contrib.django", "mails"]
JOBD = {"REDIS": os.environ["SHOP_REDIS"]}
"""


def test_a_django_project_is_found(dev: Dev, redis: redis_py.Redis, server: EmbeddedServer) -> None:
    """Also with settings that cannot be imported any more."""
    dev.app.unlink()
    del dev.environment["JOBD_REDIS"]
    dev.environment["SHOP_REDIS"] = server.url
    (dev.directory / "manage.py").write_text(
        'import os, django\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")\n'
    )
    (dev.directory / "mails").mkdir()
    (dev.directory / "mails/__init__.py").write_text("")
    jobs = APP.replace('"JOBD_REDIS"', '"SHOP_REDIS"').replace(
        "(queue", '(name="shop.welcome", queue'
    )
    (dev.directory / "mails/jobs.py").write_text(jobs)
    dev.save(DJANGO_SETTINGS, "settings.py")
    dev.start("--no-dashboard")
    dev.says(r"jobd dev  1 job:\njobd dev    shop.welcome  \(queue mail\)\n")
    dev.ready()
    assert answers(redis, server) == "one"
    dev.save("import shpo\n" + DJANGO_SETTINGS, "settings.py")
    dev.says(r"jobd dev  not reloaded: .*No module named 'shpo'.*\njobd dev  the old code keeps")
    assert answers(redis, server) == "one"
    dev.save(DJANGO_SETTINGS, "settings.py")
    dev.says("reloaded in ")
    (dev.directory / "mails/jobs.py").write_text(jobs.replace("one", "two"))
    dev.says("reloaded in ")
    assert answers(redis, server) == "two"
