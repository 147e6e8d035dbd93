"""Of a daemon that has no pidfile, or has lost it, jobctl does not say that there is none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.master.files.pidfile import DEFAULT
from tests.support.daemon import Daemon, environment
from tests.support.others import Nobody
from tests.support.processes import freeze


def jobctl(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobctl", *words],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=directory,
        env=environment(),
    )


@pytest.fixture
def unlisted(idle_daemon: Daemon) -> Daemon:
    """A daemon without a pidfile, which was started in its directory."""
    if os.access(DEFAULT.parent, os.W_OK):
        pytest.skip(f"here a daemon gets the pidfile {DEFAULT}")
    idle_daemon.write_app("")
    idle_daemon.run("--pidfile", "")
    idle_daemon.wait_for_log('"state":"running"')
    return idle_daemon


@pytest.mark.parametrize("command", ["stop", "status", "reload"])
@pytest.mark.parametrize("named", [[], ["-P", "jobd.pid"]], ids=["", "-P"])
def test_a_daemon_without_a_pidfile_is_told_of(
    unlisted: Daemon, command: str, named: list[str]
) -> None:
    done = jobctl(unlisted.directory, *named, command)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"jobctl: pid {unlisted.pid} (" in line
    assert f"is the daemon of {unlisted.directory}, and has no pidfile" in line
    assert f"kill -TERM {unlisted.pid} stops it" in line
    assert unlisted.alive()


def test_elsewhere_it_is_another_daemon(unlisted: Daemon, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert jobctl(other, "stop").returncode == 0
    assert jobctl(other, "status").returncode == 3


def test_the_log_says_what_to_do(unlisted: Daemon) -> None:
    (told,) = [one["reason"] for one in unlisted.records() if one["event"] == "no_pidfile"]
    assert "jobctl cannot reach this daemon, only signals can" in told
    assert f"Create the directory for uid {os.geteuid()}, or give --pidfile" in told


def test_by_its_configuration_it_is_found_from_everywhere(
    idle_daemon: Daemon, tmp_path: Path
) -> None:
    if os.access(DEFAULT.parent, os.W_OK):
        pytest.skip(f"here a daemon gets the pidfile {DEFAULT}")
    idle_daemon.write_app("")
    file = idle_daemon.directory / "shop.toml"
    file.write_text('tag = "shop"\n')
    (tmp_path / "link.toml").symlink_to(file)
    idle_daemon.run("--pidfile", "", "-C", "shop.toml")
    idle_daemon.wait_for_log('"state":"running"')
    other = tmp_path / "other"
    other.mkdir()
    for name in (str(file), str(tmp_path / "link.toml")):
        done = jobctl(other, "-C", name, "stop")
        assert done.returncode == 1, done.stderr
        assert f"is the daemon of {file}, and has no pidfile" in done.stderr
    assert jobctl(other, "stop").returncode == 0


@pytest.mark.parametrize("how", ["files", "directory"])
def test_one_whose_files_were_removed_is_told_of(
    idle_daemon: Daemon, tmp_path: Path, how: str
) -> None:
    idle_daemon.write_app("")
    run = tmp_path / "run"
    run.mkdir()
    idle_daemon.run("--pidfile", str(run / "jobd.pid"))
    idle_daemon.wait_for_log('"state":"running"')
    freeze(idle_daemon.pid)  # else it makes some of them again
    try:
        if how == "directory":
            shutil.rmtree(run)
        else:
            for file in run.iterdir():
                file.unlink()
        done = jobctl(tmp_path, "-P", str(run / "jobd.pid"), "stop")
    finally:
        os.kill(idle_daemon.pid, signal.SIGCONT)
    assert done.returncode == 1, done.stderr
    assert f"is the daemon of {run / 'jobd.pid'}, and that file and its socket were removed" in (
        done.stderr
    )
    if how == "directory":
        idle_daemon.expect_in_log("jobd")


def test_what_only_calls_itself_so_and_is_another_users_does_not_count(
    tmp_path: Path, nobody: Nobody
) -> None:
    """Other users cannot keep root's `jobctl stop` from saying that all is done."""
    title = f"jobd master running, no pidfile: {tmp_path}"
    code = f"import setproctitle, time; setproctitle.setproctitle({title!r}); print(flush=True)"
    forged = subprocess.Popen(
        **nobody.command("-c", f"{code}; time.sleep(600)"), stdout=subprocess.PIPE, cwd="/"
    )
    try:
        assert forged.stdout
        forged.stdout.readline()
        assert jobctl(tmp_path, "stop").returncode == 0
    finally:
        forged.kill()
        forged.communicate()
