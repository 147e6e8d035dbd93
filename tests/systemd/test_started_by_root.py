"""Started by root as an init script would, working as somebody else: fault 47.

The box has what this needs: a whole machine with users of its own, where /run and /var are free.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.support.daemon import wait
from tests.systemd.box import Box

APP = """
import os, time
from jobd import job

@job
def who():
    print(os.getuid(), os.environ["HOME"], flush=True)

@job
def nap():
    print("napping", flush=True)
    time.sleep(2)
"""

PIDFILE = "/run/shop/jobd.pid"
LOGFILE = "/var/log/shop/jobd.log"
JOBD = 990


class Rooted:
    """A daemon in the box that root starts."""

    def __init__(self, box: Box, url: str) -> None:
        self.box = box
        self.url = url
        box.path("/srv/app/app.py").write_text(APP)

    def command(self, verb: str, *flags: str) -> list[str]:
        return [
            *("/opt/jobd/bin/jobd", verb, "-r", "app", "--directory", "/srv/app"),
            *("--log-format", "json"),
            *("--redis", self.url, "--pidfile", PIDFILE, "--logfile", LOGFILE, *flags),
        ]

    def jobd(self, verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return self.box.run(*self.command(verb, *flags))

    def jobctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.box.run("/opt/jobd/bin/jobctl", "--pidfile", PIDFILE, *words)

    def log(self) -> str:
        return self.box.path(LOGFILE).read_text()

    def pids(self) -> list[int]:
        """The master's and its children's, as the box counts."""
        state = json.loads(self.box.path("/run/shop/jobd.state").read_text())
        return [state["pid"], *(child["pid"] for child in [state["keeper"], *state["workers"]])]

    def status_of(self, pid: int) -> dict[str, list[str]]:
        """The kernel's view of a process."""
        lines = self.box.path(f"/proc/{pid}/status").read_text().splitlines()
        return {line.split(":")[0]: line.split(":")[1].split() for line in lines}

    def owners(self) -> dict[str, int]:
        """Who owns what there is of the daemon."""
        return {
            str(path): path.stat().st_uid
            for directory in ("/run/shop", "/var/log/shop")
            for path in (self.box.path(directory), *self.box.path(directory).iterdir())
        }


@pytest.fixture
def rooted(box: Box, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Rooted]:
    made = Rooted(box, server.tcp_url)
    yield made
    made.jobctl("stop", "--timeout", "0", "--kill")
    box.run("rm", "-rf", "/run/shop", "/var/log/shop")


@pytest.mark.parametrize("before", ["nothing", "root's"])
def test_47_everything_is_the_service_users(
    rooted: Rooted, redis: redis_py.Redis, before: str
) -> None:
    box = rooted.box
    if before == "root's":  # as a start without a user leaves it
        box.run("mkdir", "/run/shop", "/var/log/shop")
        box.run("touch", PIDFILE, "/run/shop/jobd.state", LOGFILE)
    done = rooted.jobd("start", "--user", "jobd")
    assert (done.returncode, done.stderr) == (0, "")

    pids = rooted.pids()
    assert len(pids) == 3
    for pid in pids:
        status = rooted.status_of(pid)
        assert status["Uid"] == status["Gid"] == [str(JOBD)] * 4
        assert set(status["Groups"]) <= {str(JOBD)}
        assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0
    assert set(rooted.owners().values()) == {JOBD}, rooted.owners()
    assert "running_as_root" not in rooted.log()
    Client(rooted.url).push({"class": "app.who", "args": []})
    wait(lambda: f"{JOBD} /var/lib/jobd\n" in rooted.log(), 10, "the job has run")

    box.path(LOGFILE).rename(box.path(f"{LOGFILE}.1"))
    box.run("kill", "-USR2", str(pids[0]))
    wait(box.path(LOGFILE).exists, 5, "the log is reopened")
    assert set(rooted.owners().values()) == {JOBD}, rooted.owners()
    for words in ("status", "threads"):
        done = rooted.jobctl(words)
        assert done.returncode == 0, done.stderr


def test_47_the_signal_for_the_masters_death_is_still_armed(rooted: Rooted) -> None:
    assert rooted.jobd("start", "--user", "jobd").returncode == 0
    master, *children = rooted.pids()
    for pid in children:
        adjusted = rooted.box.path(f"/proc/{pid}/oom_score_adj").read_text()
        assert int(adjusted) > 0, "the change of user has closed /proc to the children"
    Client(rooted.url).push({"class": "app.nap", "args": []})  # else it could leave before
    wait(lambda: "napping" in rooted.log(), 10, "the job runs")
    rooted.box.run("kill", "-KILL", str(master))
    wait(lambda: '"cause":"signal TERM"' in rooted.log(), 10, "the kernel's TERM")
    for pid in children:
        process = rooted.box.path(f"/proc/{pid}")
        wait(lambda process=process: not process.exists(), 10, "it leaves")  # type: ignore[misc]


def test_jobd_run_drops_root_as_well(rooted: Rooted) -> None:
    box = rooted.box
    box.run("systemd-run", "--unit=rooted", *rooted.command("run", "--user", "jobd"))
    wait(box.path("/run/shop/jobd.state").exists, 10, "it runs")
    wait(lambda: '"running"' in box.path("/run/shop/jobd.state").read_text(), 10, "it is ready")
    for pid in rooted.pids():
        assert rooted.status_of(pid)["Uid"] == [str(JOBD)] * 4
    assert rooted.jobctl("stop").returncode == 0


def test_a_running_daemon_of_root_is_warned_about_and_not_touched(rooted: Rooted) -> None:
    rooted.box.run("mkdir", "/run/shop", "/var/log/shop")
    assert rooted.jobd("start").returncode == 0
    assert rooted.log().count("running_as_root") == 1
    second = rooted.jobd("start", "--user", "jobd")
    assert second.returncode == 73
    assert "already running, pid" in second.stderr
    assert set(rooted.owners().values()) == {0}


def test_check_says_what_root_would_do_and_does_nothing(rooted: Rooted) -> None:
    done = rooted.jobd("check", "--user", "jobd")
    assert done.returncode == 0, done.stderr
    assert (
        "\nuser: root's start would make the directory /run/shop, make the directory "
        f"/var/log/shop, and become user jobd (uid {JOBD}, gid {JOBD})\n"
    ) in done.stdout
    assert not rooted.box.path("/run/shop").exists()


def test_a_directory_that_the_user_may_not_enter_is_named(rooted: Rooted) -> None:
    rooted.box.run("mkdir", "-m", "700", "/srv/private")
    for verb in ("start", "run", "check"):
        done = rooted.jobd(verb, "--user", "jobd", "--directory", "/srv/private")
        assert (verb, done.returncode) == (verb, 78), done.stderr
        assert (
            f"directory: uid {JOBD} may not read /srv/private; grant it access, or" in done.stderr
        )
