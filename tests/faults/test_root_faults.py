"""Row 53: what others have prepared for a daemon that root starts as somebody else.

Nothing of root's changes hands, nothing of root's is read or run, and nobody types into root's
terminal.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.runtime.process import processes
from jobd.testing import EmbeddedServer
from tests.support.daemon import Daemon, wait
from tests.support.others import NOBODY, Nobody

VERBS = ("start", "run", "check")


class World:
    """A directory of root's, in it one of the service user's, and what is precious to root."""

    def __init__(self, directory: Path, url: str, nobody: Nobody) -> None:
        self.directory = directory
        self.theirs = directory / "theirs"
        self.precious = directory / "precious"
        self.environment = nobody.environment
        self.url = url
        for made in (self.theirs, self.precious):
            made.mkdir()
        self.give(self.theirs)
        (directory / "app.py").write_text("")
        self.pidfile = directory / "run/jobd.pid"
        self.logfile = directory / "log/jobd.log"

    def give(self, path: Path) -> None:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def command(self, verb: str, *flags: str) -> list[str]:
        return [
            *(sys.executable, "-m", "jobd", verb, "-r", "app", "--redis", self.url),
            *("--pidfile", str(self.pidfile), "--logfile", str(self.logfile), *flags),
        ]

    def jobd(self, verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(verb, *flags),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def jobctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobctl", "-P", str(self.pidfile), *words],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def of_root(self, *paths: Path) -> bool:
        return all(path.lstat().st_uid == 0 for path in paths)


@pytest.fixture
def world(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> Iterator[World]:
    if nobody("-c", f"open({os.__file__!r})").returncode:
        pytest.skip(f"not every user may read {os.__file__}")
    made = World(open_directory, server.tcp_url, nobody)
    yield made
    made.jobctl("stop", "--timeout", "0", "--kill")


# -- paths ---------------------------------------------------------------------------------------


def linked_directories(world: World) -> None:
    for name in ("run", "log"):
        (world.theirs / name).symlink_to(world.precious)
    world.pidfile, world.logfile = world.theirs / "run/jobd.pid", world.theirs / "log/jobd.log"


def links_to_a_missing_directory(world: World) -> None:
    (world.theirs / "run").symlink_to(world.precious / "made")
    world.pidfile, world.logfile = world.theirs / "run/jobd.pid", world.theirs / "run/jobd.log"


def link_to_a_file(world: World) -> None:
    (world.precious / "jobd.log").touch()
    (world.theirs / "jobd.log").symlink_to(world.precious / "jobd.log")
    world.logfile = world.theirs / "jobd.log"


def hard_link_to_a_file(world: World) -> None:
    (world.precious / "shadow").touch()
    os.link(world.precious / "shadow", world.directory / "jobd.log")
    world.logfile = world.directory / "jobd.log"


def log_of_another_program(world: World) -> None:
    (world.precious / "syslog").write_text("Nov 28 kernel: hello\n")
    world.logfile = world.precious / "syslog"


def by_way_of_dots(world: World) -> None:
    (world.theirs / "deep").mkdir()
    world.pidfile = world.theirs / "deep/../../precious/jobd.pid"


def a_directory_that_is_shared(world: World) -> None:
    world.precious.chmod(0o1777)
    (world.precious / "jobd.log").touch()
    world.logfile = world.precious / "jobd.log"


def files_of_other_kinds(world: World) -> None:
    os.mkfifo(world.precious / "jobd.state")
    world.pidfile = world.precious / "jobd.pid"


@pytest.mark.parametrize(
    "attack",
    [
        linked_directories,
        links_to_a_missing_directory,
        link_to_a_file,
        hard_link_to_a_file,
        log_of_another_program,
        by_way_of_dots,
        a_directory_that_is_shared,
        files_of_other_kinds,
    ],
)
def test_53_nothing_of_roots_changes_hands(world: World, attack: Callable[[World], None]) -> None:
    attack(world)
    before = sorted(world.precious.iterdir())
    checked = world.jobd("check", "--user", "nobody")
    done = world.jobd("start", "--user", "nobody")
    assert (done.returncode, checked.returncode) == (73, 73), (done.stderr, checked.stderr)
    assert world.of_root(world.precious, *world.precious.iterdir())
    assert sorted(world.precious.iterdir()) == before
    assert str(world.precious) not in checked.stdout


def test_53_a_way_that_is_exchanged_while_root_goes_it(world: World) -> None:
    """The service user has the directory on the way to the log come and go."""
    world.logfile = world.theirs / "way/log/jobd.log"
    script = (
        f"cd {shlex.quote(str(world.theirs))}; mkdir real; ln -s ../precious link; "
        "while :; do mv -T real way; mv -T way real; mv -T link way; mv -T way link; done"
    )
    prefix = Nobody().prefix
    with subprocess.Popen([*prefix, "sh", "-c", script], stderr=subprocess.DEVNULL) as swapping:
        try:
            for _ in range(6):
                world.jobd("start", "--user", "nobody")
        finally:
            swapping.kill()
    assert world.of_root(world.precious)
    assert list(world.precious.iterdir()) == []


# -- the configuration ---------------------------------------------------------------------------


def settings(world: World, path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, 'require = ["app"]', f'redis = "{world.url}"', ""]))
    return path


@pytest.mark.parametrize("name", ["jobd.toml", "jobd.state", "jobd.pid.new"])
def test_53_the_configuration_in_use_is_never_handed_over(world: World, name: str) -> None:
    world.pidfile = world.precious / "jobd.pid"
    file = settings(world, world.precious / name, 'user = "nobody"')
    done = world.jobd("start", "-C", str(file))
    assert done.returncode == 73, done.stderr
    assert world.of_root(world.precious, file)


def test_53_the_configuration_is_no_log(world: World) -> None:
    file = settings(world, world.precious / "jobd.toml", 'user = "nobody"')
    world.logfile = file
    for verb in VERBS:
        done = world.jobd(verb, "-C", str(file))
        assert (verb, done.returncode) == (verb, 78), done.stderr
    assert world.of_root(file)


def owned(world: World) -> Path:
    file = settings(world, world.precious / "shop.toml", 'user = "root"')
    world.give(file)
    return file


def writable_by_the_group(world: World) -> Path:
    file = settings(world, world.precious / "shop.toml", 'user = "nobody"')
    os.chown(file, 0, NOBODY)
    file.chmod(0o660)
    return file


def in_a_directory_of_theirs(world: World) -> Path:
    return settings(world, world.theirs / "shop.toml", 'user = "nobody"')


def below_a_directory_of_theirs(world: World) -> Path:
    (world.theirs / "etc").mkdir()
    return settings(world, world.theirs / "etc/shop.toml")


def by_a_link_of_theirs(world: World) -> Path:
    file = settings(world, world.precious / "shop.toml")
    (world.theirs / "shop.toml").symlink_to(file)
    world.give(world.theirs / "shop.toml")
    return world.theirs / "shop.toml"


def in_a_shared_directory(world: World) -> Path:
    world.precious.chmod(0o1777)
    return settings(world, world.precious / "shop.toml", 'user = "nobody"')


@pytest.mark.parametrize(
    "made",
    [
        owned,
        writable_by_the_group,
        in_a_directory_of_theirs,
        below_a_directory_of_theirs,
        by_a_link_of_theirs,
        in_a_shared_directory,
    ],
)
@pytest.mark.parametrize("flags", [(), ("--user", "nobody")])
def test_53_root_goes_by_no_configuration_that_others_can_write(
    world: World, made: Callable[[World], Path], flags: tuple[str, ...]
) -> None:
    file = made(world)
    for verb in VERBS:
        done = world.jobd(verb, "-C", str(file), *flags)
        assert (verb, done.returncode) == (verb, 78), done.stderr
        assert f"root does not use the configuration {file}: " in done.stderr
    assert not world.pidfile.parent.exists()


def test_53_who_says_that_root_is_meant_may_have_any_configuration(world: World) -> None:
    for made in (world.pidfile, world.logfile):
        made.parent.mkdir()
    done = world.jobd("start", "-C", str(in_a_directory_of_theirs(world)), "--user", "root")
    assert done.returncode == 0, done.stderr


# -- files beside the pidfile --------------------------------------------------------------------


def forged_state(victim: int) -> str:
    child = {
        "slot": 0,
        "pid": victim,
        "ticks": processes.start_ticks(victim),
        "identity": f"host:{victim}:0123456789ab",
        "generation": 1,
        "state": "ready",
    }
    return json.dumps(
        {
            "schema": 1,
            "pid": 4194304,  # above every pid
            "ticks": 1,
            "boot_id": processes.boot_id(),
            "uid": 0,
            "version": "0",
            "state": "running",
            "generation": 1,
            "workers": [child],
        }
    )


@pytest.mark.parametrize("owner", ["theirs", "linked", "writable"])
def test_53_a_forged_state_file_ends_nobody(world: World, owner: str) -> None:
    """In a directory such as /tmp, where others may put files."""
    world.precious.chmod(0o1777)
    world.pidfile, world.logfile = world.precious / "jobd.pid", world.directory / "jobd.log"
    state = world.precious / "jobd.state"
    with subprocess.Popen(["sleep", "60"]) as victim:
        state.write_text(forged_state(victim.pid))
        if owner == "theirs":
            world.give(state)
        elif owner == "linked":
            os.link(state, world.precious / "other name")
        else:
            state.chmod(0o666)
        assert world.jobd("start").returncode == 0
        assert victim.poll() is None, "it was ended"
        victim.kill()
    assert "orphan" not in world.logfile.read_text()
    assert world.of_root(state)


def test_53_only_processes_of_its_own_user_are_ended(world: World, nobody: Nobody) -> None:
    world.pidfile, world.logfile = world.theirs / "jobd.pid", world.theirs / "jobd.log"
    with subprocess.Popen(["sleep", "60"]) as victim:
        state = world.theirs / "jobd.state"
        state.write_text(forged_state(victim.pid))
        world.give(state)
        done = world.jobd("start", "--user", "nobody")
        assert done.returncode == 0, done.stderr
        assert victim.poll() is None
        victim.kill()
    assert "orphan" not in world.logfile.read_text()


@pytest.mark.parametrize("name", ["jobd.dump", "jobd.state.new", "jobd.state", "jobd.sock"])
def test_53_what_was_prepared_is_not_used(world: World, name: str) -> None:
    world.precious.chmod(0o1777)
    world.pidfile, world.logfile = world.precious / "jobd.pid", world.directory / "jobd.log"
    prepared = world.precious / name
    prepared.touch()
    prepared.chmod(0o666)
    world.give(prepared)
    with prepared.open("rb") as theirs:
        assert world.jobd("start").returncode == 0
        assert os.fstat(theirs.fileno()).st_size == 0
        assert os.fstat(theirs.fileno()).st_nlink == 0
    if name != "jobd.state.new":
        assert world.of_root(prepared)


def test_53_a_link_in_place_of_the_log_is_not_followed_by_root_either(world: World) -> None:
    """A daemon whose jobs are root's, with a log where others may put files."""
    for made in (world.pidfile.parent, world.theirs / "log"):
        made.mkdir()
    world.logfile = world.theirs / "log/jobd.log"
    world.logfile.symlink_to(world.precious / "cron")
    done = world.jobd("start")
    assert done.returncode == 73, done.stderr
    assert "symbolic link" in done.stderr
    assert list(world.precious.iterdir()) == []


# -- the lock ------------------------------------------------------------------------------------

_HOLD = """
import fcntl, sys, time
with open(sys.argv[1]) as file:
    print("open", flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(60)
"""


def test_53_who_may_only_read_the_pidfile_cannot_keep_the_daemon_from_starting(
    world: World, nobody: Nobody
) -> None:
    daemon = Daemon(world.directory, world.url)
    world.pidfile, world.logfile = daemon.pidfile, daemon.log_file
    assert world.jobd("start").returncode == 0
    lock = world.directory / "jobd.lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    assert nobody("-c", f"open({str(lock)!r})").returncode != 0
    waiting = nobody.command("-c", _HOLD, str(world.pidfile))
    with subprocess.Popen(**waiting, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "open\n"
        state = json.loads(daemon.state_file.read_text())
        for pid in (state["pid"], state["keeper"]["pid"], *(w["pid"] for w in state["workers"])):
            os.kill(pid, signal.SIGKILL)
        assert attacker.stdout.readline() == "locked\n"
        assert world.jobctl("status").returncode == 3
        assert world.jobctl("stop").returncode == 0
        started = world.jobd("start")
        assert started.returncode == 0, started.stderr
        again = world.jobd("start")
        assert (again.returncode, "already running, pid" in again.stderr) == (73, True)
        assert world.jobctl("status").returncode == 0
        attacker.kill()
    assert world.jobctl("stop").returncode == 0
    assert not lock.exists()


def test_53_others_may_read_the_number_and_learn_no_more(world: World, nobody: Nobody) -> None:
    daemon = Daemon(world.directory, world.url)
    world.pidfile, world.logfile = daemon.pidfile, daemon.log_file
    assert world.jobd("start").returncode == 0
    number = nobody("-c", f"print(open({str(world.pidfile)!r}).read())").stdout.strip()
    assert number == world.pidfile.read_text().strip()
    done = nobody("-m", "jobctl", "-P", str(world.pidfile), "status")
    assert done.returncode == 4, done.stderr
    assert "permission denied" in done.stderr


def test_53_a_daemon_of_an_older_version_still_counts(world: World) -> None:
    """It locks the pidfile, and knows no other lock."""
    world.pidfile.parent.mkdir()
    world.logfile.parent.mkdir()
    with subprocess.Popen(["sleep", "60"]) as older, world.pidfile.open("w+") as file:
        file.write(f"{older.pid}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        done = world.jobd("start")
        assert (done.returncode, "is locked" in done.stderr) == (73, True), done.stderr
        older.kill()
    assert not (world.pidfile.parent / "jobd.lock").exists()


# -- the session ---------------------------------------------------------------------------------

APP = """
import fcntl, json, os, termios

def stolen(path):
    try:
        fd = path if isinstance(path, int) else os.open(path, os.O_RDWR)
        fcntl.ioctl(fd, termios.TIOCSTI, b"!")
    except OSError as error:
        return error.errno
    return "typed"

def readable(pid, fd):
    try:
        os.read(os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK), 1)
    except OSError:
        return False
    return os.readlink(f"/proc/{pid}/fd/{fd}").startswith(("/dev/pts/", "/dev/tty"))

master = os.getppid()
facts = {
    "stolen": [stolen(one) for one in (0, 1, 2, "/dev/tty")],
    "readable": [readable(pid, fd) for pid in ("self", master) for fd in (0, 1, 2)],
    "terminal": [
        open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[4] for pid in ("self", master)
    ],
    "open": [os.readlink(f"/proc/{master}/fd/{fd}") for fd in os.listdir(f"/proc/{master}/fd")],
    "environment": dict(os.environ),
    "uid": os.getuid(),
}
with open("facts.new", "w") as file:
    json.dump(facts, file)
os.rename("facts.new", "facts.json")
"""


class Terminal:
    """A terminal at which root has typed a command."""

    def __init__(self, world: World, command: list[str], environment: dict[str, str]) -> None:
        self.said = ""
        inherited = os.open(world.precious, os.O_RDONLY)
        pid, self._fd = pty.fork()
        if pid == 0:
            os.set_inheritable(inherited, True)
            os.chdir(world.theirs)
            os.execve(command[0], command, environment)
        os.close(inherited)
        self.pid = pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.said += os.read(self._fd, 4096).decode(errors="replace")
            except OSError:
                return  # no one has it open any more

    def type(self, text: bytes) -> None:
        os.write(self._fd, text)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def at_terminal(world: World) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []
    facts = world.theirs / "facts.json"
    (world.theirs / "app.py").write_text(APP)
    world.pidfile = world.theirs / "jobd.pid"

    def command(verb: str) -> Terminal:
        line = world.command(verb, "--user", "nobody")
        at = line.index("--logfile")
        if verb == "run":
            del line[at : at + 2]  # what is logged goes to the terminal
        else:
            line[at + 1] = str(world.theirs / "jobd.log")
        roots = {
            "HOME": "/root",
            "USER": "root",
            "SUDO_USER": "alice",
            "SSH_AUTH_SOCK": "/tmp/agent",
            "XDG_RUNTIME_DIR": "/run/user/0",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus",
            "MAIL": "/var/mail/root",
            "DATABASE_URL": "postgres://shop",
        }
        opened.append(Terminal(world, line, {**world.environment, **roots}))
        wait(facts.exists, 30, f"the application is imported: {opened[-1].said}")
        return opened[-1]

    yield command
    for one in opened:
        one.close()


def harmless(world: World) -> None:
    facts = json.loads((world.theirs / "facts.json").read_text())
    assert facts["uid"] == NOBODY
    assert "typed" not in facts["stolen"]
    assert facts["readable"] == [False] * 6
    assert set(facts["terminal"]) == {"0"}
    assert str(world.precious) not in facts["open"]
    variables = facts["environment"]
    assert (variables["USER"], variables["LOGNAME"]) == ("nobody", "nobody")
    assert variables["HOME"] != "/root"
    assert variables["DATABASE_URL"] == "postgres://shop"
    assert not [one for one in variables if one.startswith(("SUDO_", "SSH_", "XDG_", "DBUS_"))]
    assert "MAIL" not in variables


def running(world: World) -> int:
    state = world.theirs / "jobd.state"
    wait(lambda: state.exists() and '"running"' in state.read_text(), 30, "it is ready")
    return int(json.loads(state.read_text())["pid"])


def test_53_a_job_does_not_type_into_roots_terminal(
    world: World, at_terminal: Callable[..., Terminal]
) -> None:
    terminal = at_terminal("run")
    master = running(world)
    harmless(world)
    assert master != terminal.pid
    terminal.type(b"\x03")  # Ctrl-C
    assert terminal.wait() == 0, terminal.said
    assert not Path(f"/proc/{master}").exists()
    assert "SIGINT" in terminal.said or "signal INT" in terminal.said


def test_53_nor_while_root_waits_for_the_start_or_the_check(
    world: World, at_terminal: Callable[..., Terminal]
) -> None:
    for verb in ("check", "start"):
        terminal = at_terminal(verb)
        assert terminal.wait() == 0, terminal.said
        harmless_of_check = json.loads((world.theirs / "facts.json").read_text())
        assert "typed" not in harmless_of_check["stolen"], verb
        assert set(harmless_of_check["terminal"]) == {"0"}, verb
        if verb == "start":
            harmless(world)
        (world.theirs / "facts.json").unlink()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_53_signals_reach_the_daemon_behind_its_guardian(
    world: World, at_terminal: Callable[..., Terminal], signum: signal.Signals
) -> None:
    terminal = at_terminal("run")
    running(world)
    os.kill(terminal.pid, signum)
    assert terminal.wait() == 0, terminal.said


def test_53_the_daemon_ends_with_its_guardian(
    world: World, at_terminal: Callable[..., Terminal]
) -> None:
    terminal = at_terminal("run")
    master = running(world)
    os.kill(terminal.pid, signal.SIGKILL)
    assert terminal.wait() == -signal.SIGKILL
    wait(lambda: processes.run_state(master) in ("", "Z"), 20, "the daemon has stopped")


def test_53_a_daemon_that_is_killed_says_so_at_the_terminal(
    world: World, at_terminal: Callable[..., Terminal]
) -> None:
    terminal = at_terminal("run")
    os.kill(running(world), signal.SIGKILL)
    assert terminal.wait() == 128 + signal.SIGKILL
