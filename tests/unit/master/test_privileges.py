"""Becoming the service user: who may, what root prepares, and that there is no way back."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
from pathlib import Path

import pytest

from jobd.errors import ConfigError
from jobd.master import privileges
from jobd.settings.daemon import Config
from tests.support import keyring
from tests.support.daemon import Daemon, environment

NOBODY = 65534

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@root_only
def test_the_rights_do_not_come_back() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            privileges.become(privileges.ServiceUser(NOBODY, NOBODY, "", ""))
            capabilities = Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
            dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
            code = 0 if int(capabilities, 16) == 0 and dumpable == 1 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@root_only
def test_the_keys_of_the_session_stay_behind() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            key = keyring.add()
            there = keyring.can_read(key)
            privileges.become(privileges.ServiceUser(NOBODY, NOBODY, "", ""))
            code = (2 if keyring.can_read(key) else 0) if there else 3
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 3:
        pytest.skip("this kernel has no keyrings, or a filter does not allow them")
    assert code == 0


# -- what root would do --------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root hands anything over")
    return tmp_path


def steps(pidfile: Path, logfile: Path | str = "") -> list[str]:
    config = Config(pidfile=str(pidfile), logfile=str(logfile), user="nobody")
    user = privileges.service_user(config)
    assert user is not None
    return [str(one) for one in privileges.handovers(config, user)]


def test_missing_directories_are_made(plan: Path) -> None:
    assert steps(plan / "run/jobd.pid", plan / "log/jobd.log") == [
        f"make the directory {plan}/run",
        f"make the directory {plan}/log",
    ]
    assert steps(plan / "none/run/jobd.pid") == []


def test_a_directory_with_files_of_others_stays_roots_and_only_the_log_is_made(plan: Path) -> None:
    (plan / "syslog").touch()
    assert steps(plan / "run/jobd.pid", plan / "jobd.log") == [
        f"make the directory {plan}/run",
        f"make the file {plan}/jobd.log",
    ]
    (plan / "jobd.log").touch()
    assert f"hand over {plan}/jobd.log" in steps(plan / "run/jobd.pid", plan / "jobd.log")
    assert steps(plan / "jobd.pid") == []


def test_links_and_other_peoples_directories_are_left_alone(plan: Path) -> None:
    theirs = plan / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    assert steps(theirs / "jobd.pid", theirs / "jobd.log") == []
    assert steps(theirs / "run/jobd.pid") == []
    (plan / "mine").mkdir()
    (plan / "mine/jobd.log").symlink_to("/etc/passwd")
    (plan / "mine/other").touch()
    assert steps(plan / "mine/jobd.pid", plan / "mine/jobd.log") == []
    (plan / "mine/jobd.log").unlink()
    os.link(plan / "mine/other", plan / "mine/jobd.log")
    assert steps(plan / "mine/jobd.pid", plan / "mine/jobd.log") == []


def test_a_handed_over_directory_takes_its_files_along_first(plan: Path) -> None:
    (plan / "run").mkdir()
    (plan / "run/jobd.pid").touch()
    assert steps(plan / "run/jobd.pid") == [
        f"hand over {plan}/run/jobd.pid",
        f"hand over {plan}/run",
    ]
    os.chown(plan / "run", 0, NOBODY)
    (plan / "run").chmod(0o770 | stat.S_ISGID)
    assert steps(plan / "run/jobd.pid") == []  # it can work there as it is


# -- who may ask for it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "group", "text"),
    [
        ("no-such-user", "", "no user no-such-user"),
        ("nobody", "no-such-group", "no group no-such-group"),
        ("4000000000", "", "no account"),
    ],
)
def test_users_that_do_not_exist(user: str, group: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        privileges.service_user(Config(user=user, group=group))


@pytest.mark.parametrize("verb", ["run", "start", "check"])
def test_unknown_users_are_78_at_the_prompt(idle_daemon: Daemon, verb: str) -> None:
    idle_daemon.write_app("")
    done = subprocess.run(
        idle_daemon.command(verb, "-r", "app", "--user", "no-such-user"),
        capture_output=True,
        text=True,
        cwd=idle_daemon.directory,
        env=environment(),
        timeout=30,
    )
    assert done.returncode == 78
    assert "user: there is no user no-such-user on this machine" in done.stderr


@root_only
@pytest.mark.parametrize("verb", ["run", "start"])
def test_only_root_becomes_another_user(idle_daemon: Daemon, verb: str) -> None:
    idle_daemon.write_app("")
    drop = f"import os, sys; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    source = f"{drop}; from jobd.cli.main import main; sys.exit(main(sys.argv[1:]))"
    # Imported first: the interpreter's own directories may be closed to others.
    source = f"import difflib, pwd, jobd.cli.main, jobd.cli.check, jobd.master.start; {source}"
    python, _, _, *arguments = idle_daemon.command(verb, "-r", "app", "--user", "daemon")
    done = subprocess.run(
        [python, "-c", source, *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment(),
        timeout=30,
    )
    assert done.returncode == 77, done.stderr
    assert "only root can become another user" in done.stderr
