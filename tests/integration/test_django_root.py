"""Root starts the daemon of a Django project that the service user can change."""

from __future__ import annotations

import json
import os
import pty
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import keyring
from tests.support.engine import until
from tests.support.others import NOBODY, Nobody
from tests.support.ports import free_port

pytest.importorskip("django", minversion="5.2")

USER = pwd.getpwuid(NOBODY).pw_name

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")  # django\n'

SETTINGS = """
import json, os, pathlib
from tests.support import keyring
SECRET_KEY = "secret"
INSTALLED_APPS = ["jobd.contrib.django"]
def typed():
    try:
        os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return False
    return True
facts = {
    "who": [os.getresuid(), os.getresgid(), os.getgroups()],
    "typed": typed(),
    "keys": keyring.can_read(int(os.environ.get("KEY", -1))),
    "environment": dict(os.environ),
}
path = pathlib.Path(__file__).parent
(path / "new").write_text(json.dumps(facts))
(path / "new").rename(path / "facts")
"""

EVIL = """
import json, os, sys
given = {"redis": "redis://127.0.0.1:1/7", "logfile": %r, "pidfile": %r, "group": "0", "user": "0"}
os.write(int(sys.argv[1]), json.dumps(given).encode())
os._exit(0)
"""


class Project:
    """A project of the service user's in a directory of root's, and root's command line."""

    def __init__(self, directory: Path, nobody: Nobody) -> None:
        self.directory = directory
        self.precious = directory / "precious"
        self.theirs = directory / "theirs"
        self.facts = self.theirs / "facts"
        self.environment = nobody.environment
        self.precious.mkdir()
        (self.precious / "profile").touch()
        self.theirs.mkdir()
        self.write("manage.py", MANAGE)
        self.write("settings.py", SETTINGS)
        os.chown(self.theirs, NOBODY, NOBODY)

    def write(self, name: str, text: str) -> None:
        (self.theirs / name).write_text(text)
        os.chown(self.theirs / name, NOBODY, NOBODY)

    def command(self, verb: str, *flags: str) -> list[str]:
        files = ("--pidfile", f"{self.directory}/run/jobd.pid")
        return [sys.executable, "-m", "jobd", verb, *files, *flags]

    def jobd(self, verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(verb, *flags),
            cwd=self.theirs,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def project(open_directory: Path, nobody: Nobody) -> Project:
    return Project(open_directory, nobody)


@pytest.mark.parametrize(
    ("verb", "more"),
    [("run", ""), ("check", ""), ("dev", ""), ("check", 'require = ["settings"]\n')],
)
def test_nothing_runs_by_a_configuration_that_root_does_not_use(
    project: Project, verb: str, more: str
) -> None:
    project.write("jobd.toml", f'user = "root"\n{more}')
    done = project.jobd(verb)
    assert done.returncode == 78, done.stderr
    assert "root does not use the configuration" in done.stderr
    assert not project.facts.exists()


@pytest.mark.parametrize("line", ["user = 65534", 'user = "no-such-user"', "group = 0"])
@pytest.mark.parametrize("verb", ["run", "check"])
def test_nothing_runs_as_root_if_it_is_unclear_who_the_user_is(
    project: Project, verb: str, line: str
) -> None:
    file = project.directory / "jobd.toml"
    file.write_text(f"{line}\n")
    done = project.jobd(verb, "-C", str(file))
    assert done.returncode == 78, done.stderr
    assert not project.facts.exists()


def test_a_check_runs_no_application_as_root_for_a_user_that_does_not_exist(
    project: Project,
) -> None:
    done = project.jobd("check", "-r", "settings", "--user", "no-such-user")
    assert done.returncode == 78, done.stderr
    assert not project.facts.exists()


def test_the_settings_decide_nothing_of_what_root_does(project: Project) -> None:
    log, pid = project.precious / "jobd.log", project.precious / "jobd.pid"
    project.write("settings.py", EVIL % (str(log), str(pid)))
    done = project.jobd("run", "--user", USER)
    assert done.returncode != 0
    assert list(project.precious.iterdir()) == [project.precious / "profile"]
    project.write("settings.py", "import os, sys\nos.write(int(sys.argv[1]), b'[')\nos._exit(0)\n")
    done = project.jobd("run", "--user", USER)
    assert (done.returncode, done.stderr.count("\n")) == (66, 1), done.stderr


@pytest.mark.parametrize("verb", ["run", "check"])
def test_the_settings_have_nothing_of_roots_session(project: Project, verb: str) -> None:
    login = {"SSH_AUTH_SOCK": "/tmp/agent", "HOME": "/root", "DATABASE_URL": "postgres://shop"}
    line = project.command(verb, "--user", USER, "--redis", "redis://127.0.0.1:1/0")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.theirs)
        login["KEY"] = str(keyring.add())
        os.execve(line[0], [*line, "--directory", "."], {**project.environment, **login})
    told = b""
    while not project.facts.exists():
        try:
            told += os.read(terminal, 4096)
        except OSError:
            break
    os.close(terminal)
    os.waitpid(pid, 0)
    facts = json.loads(project.facts.read_text())
    assert facts["who"] == [[NOBODY] * 3, [NOBODY] * 3, [NOBODY]], told
    assert not facts["typed"]
    assert not facts["keys"]
    assert "SSH_AUTH_SOCK" not in facts["environment"]
    assert facts["environment"]["HOME"] != "/root"
    assert facts["environment"]["DATABASE_URL"] == "postgres://shop"


def test_the_dashboard_becomes_the_user_before_it_imports_the_application(
    project: Project,
) -> None:
    file = project.directory / "jobd.toml"
    file.write_text(
        f'user = "{USER}"\nrequire = ["settings"]\nredis = "redis://127.0.0.1:1/0"\n'
        f"[web]\nport = {free_port()}\n"
    )
    line = [sys.executable, "-m", "jobd", "web", "-C", str(file)]
    with subprocess.Popen(line, cwd=project.theirs, env=project.environment) as web:
        try:
            until(lambda: project.facts.exists() or web.poll() is not None, "it imports", 60)
        finally:
            web.terminate()
    assert json.loads(project.facts.read_text())["who"] == [[NOBODY] * 3, [NOBODY] * 3, [NOBODY]]


def test_the_dashboard_uses_no_configuration_that_root_does_not(project: Project) -> None:
    project.write("jobd.toml", 'user = "root"\nrequire = ["settings"]\n')
    line = [sys.executable, "-m", "jobd", "web"]
    done = subprocess.run(
        line,
        cwd=project.theirs,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 78, done.stderr
    assert "root does not use the configuration" in done.stderr
    assert not project.facts.exists()


def a_fifo(project: Project) -> None:
    os.mkfifo(project.theirs / "manage.py")


def without_end(project: Project) -> None:
    (project.theirs / "manage.py").symlink_to("/dev/zero")


def nested(project: Project) -> None:
    project.write("manage.py", "# django\nx = " + "(" * 100_000)


@pytest.mark.parametrize("made", [a_fifo, without_end, nested])
def test_the_file_that_root_reads_does_not_stop_it(
    project: Project, made: Callable[[Project], None]
) -> None:
    (project.theirs / "manage.py").unlink()
    made(project)
    done = project.jobd("run", "--user", USER)
    assert done.returncode in (66, 78), done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_is_entered_with_the_rights_of_the_user(project: Project) -> None:
    closed = project.directory / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "in/manage.py").write_text(MANAGE)
    (closed / "in/secret.txt").write_text("secret")
    facts = project.facts
    code = f"import shutil\nshutil.copy('secret.txt', {str(facts)!r})\n"
    module = project.directory / "settings.py"
    module.write_text(code)
    (project.theirs / "current").symlink_to(closed / "in")
    project.environment["PYTHONPATH"] += f"{os.pathsep}{project.directory}"
    done = project.jobd("run", "--user", USER, "--directory", "current")
    assert done.returncode != 0
    assert not facts.exists()
