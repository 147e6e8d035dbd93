"""logrotate, as root runs it at night, on the logs of a daemon that works as somebody else.

In the box, where the paths and the user of the shipped file are free.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.systemd.box import Box

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "etc/logrotate.d/jobd").read_text()
IN_ROOTS = (ROOT / "docs/operations.md").read_text()
PATH = "/usr/local/sbin:/usr/sbin:/sbin"
JOBD = 990

pytestmark = [
    pytest.mark.skipif(not shutil.which("logrotate", path=PATH), reason="logrotate is missing"),
]

Start = Callable[[str], None]


@pytest.fixture
def start(box: Box, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Start]:
    """Has root start a daemon that works as jobd, with its log in a file."""

    def run(logfile: str) -> None:
        box.path("/srv/app/app.py").write_text("from jobd import job\n\n@job\ndef no(): ...\n")
        done = box.run(
            *("/opt/jobd/bin/jobd", "start", "-r", "app", "--directory", "/srv/app"),
            *("--redis", server.tcp_url, "--user", "jobd", "--logfile", logfile),
        )
        assert done.returncode == 0, done.stderr

    yield run
    done = box.run("/opt/jobd/bin/jobctl", "stop")
    assert done.returncode == 0, done.stderr
    box.run("sh", "-c", "rm -rf /run/jobd /var/log/jobd /var/log/shop.log* /etc/logrotate.d/jobd")


def rotate(box: Box, config: str) -> subprocess.CompletedProcess[str]:
    box.path("/etc/logrotate.d/jobd").write_text(config)
    return box.run("logrotate", "-f", "-s", "/root/rotated", "/etc/logrotate.d/jobd")


def last_writer(box: Box, logfile: str) -> str:
    """What the master has written into the log after all processes had opened it."""
    done = box.run("/opt/jobd/bin/jobctl", "quiet")
    assert done.returncode == 0, done.stderr
    assert box.run("/opt/jobd/bin/jobctl", "resume").returncode == 0
    return box.path(logfile).read_text()


def test_the_shipped_file_rotates_the_log_of_a_service_user(box: Box, start: Start) -> None:
    start("/var/log/jobd/jobd.log")
    for _ in range(2):
        done = rotate(box, SHIPPED)
        assert (done.returncode, done.stderr) == (0, "")
        assert "command=resume" in last_writer(box, "/var/log/jobd/jobd.log")
    found = {path.name: path.stat() for path in box.path("/var/log/jobd").iterdir()}
    assert found.keys() == {"jobd.log", "jobd.log.1", "jobd.log.2.gz"}
    assert {(file.st_uid, file.st_gid) for file in found.values()} == {(JOBD, JOBD)}


def test_without_su_it_refuses_a_directory_that_a_group_may_write_to(
    box: Box, start: Start
) -> None:
    start("/var/log/jobd/jobd.log")
    box.path("/var/log/jobd").chmod(0o770)
    done = rotate(box, SHIPPED.replace("    su jobd jobd\n", ""))
    assert done.returncode == 1
    assert "insecure permissions" in done.stderr
    assert rotate(box, SHIPPED).returncode == 0


def test_the_manual_rotates_a_log_in_roots_own_directory(box: Box, start: Start) -> None:
    start("/var/log/shop.log")
    assert not box.path("/var/log").stat().st_uid
    block = re.search(r"^```\n(/var/log/shop\.log \{.*?\n\}\n)```$", IN_ROOTS, re.DOTALL | re.M)
    assert block
    for _ in range(2):
        done = rotate(box, block[1])
        assert (done.returncode, done.stderr) == (0, "")
        assert "command=resume" in last_writer(box, "/var/log/shop.log")
        assert box.path("/var/log/shop.log").stat().st_uid == JOBD


def test_the_manual_rotates_it_by_hand(box: Box, start: Start) -> None:
    start("/var/log/shop.log")
    block = re.search(r"^```sh\n(mv /var/log/shop\.log .*?)```$", IN_ROOTS, re.DOTALL | re.M)
    assert block
    done = box.run("sh", "-ec", f"PATH=/opt/jobd/bin:$PATH\n{block[1]}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "command=resume" in last_writer(box, "/var/log/shop.log")
    assert box.path("/var/log/shop.log").stat().st_uid == JOBD
