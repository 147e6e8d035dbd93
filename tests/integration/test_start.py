"""Starting: detached and in the foreground, and everything that can be wrong with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import READY_SECONDS, Daemon, environment

APP = """
from jobd import job

@job
def nothing():
    pass
"""


@pytest.fixture
def detached(tmp_path: Path, server: EmbeddedServer) -> Iterator[Callable[[], Daemon]]:
    made: list[Daemon] = []

    def make() -> Daemon:
        one = Daemon(tmp_path, server.url)
        one.write_app(APP)
        made.append(one)
        return one

    yield make
    for one in made:
        one.check()


def test_start_returns_when_all_workers_are_ready(detached: Callable[[], Daemon]) -> None:
    daemon = detached()
    done = daemon.start("-w", "2")
    assert (done.returncode, done.stderr) == (0, "")
    where = f"pidfile {daemon.pidfile}, log {daemon.log_file}"
    assert done.stdout == f"jobd: started, pid {daemon.pid}, {where}\n"
    assert daemon.state()["state"] == "running"
    assert len(daemon.workers()) == 2
    master = psutil.Process(daemon.pid)
    assert os.getsid(master.pid) != os.getsid(0)
    assert master.terminal() is None
    assert master.num_threads() == 1
    assert Path(f"/proc/{master.pid}/cwd").readlink() == daemon.directory


def test_start_without_waiting_says_that_it_goes_on(detached: Callable[[], Daemon]) -> None:
    daemon = detached()
    done = daemon.start("--no-wait")
    assert done.returncode == 0
    assert done.stdout.startswith(f"jobd: starting, pid {daemon.pid}, ")
    daemon.wait_ready()


def test_a_start_is_none_the_worse_if_nobody_reads_that_it_went_well(
    detached: Callable[[], Daemon],
) -> None:
    daemon = detached()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            daemon.command("start", "-r", "app"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=READY_SECONDS,
            cwd=daemon.directory,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert daemon.jobctl("stop").returncode == 0


def test_processes_are_told_apart_by_their_titles(detached: Callable[[], Daemon]) -> None:
    daemon = detached()
    assert daemon.start("-w", "2", "--tag", "shop").returncode == 0

    def titles() -> list[str]:
        family = [psutil.Process(daemon.pid), *daemon.children()]
        return sorted(" ".join(process.cmdline()).strip() for process in family)

    shown = ["jobd keeper [shop]", "jobd master [shop] running"]
    assert titles() == [*shown, "jobd worker.0 [shop]", "jobd worker.1 [shop]"]
    assert daemon.jobctl("quiet").returncode == 0
    daemon.wait(lambda: "jobd master [shop] quiet" in titles(), 5, "the title says so")


def test_a_title_that_the_kernel_cuts_inside_a_character_does_no_harm(
    detached: Callable[[], Daemon],
) -> None:
    """It keeps 15 bytes of it."""
    daemon = detached()
    assert daemon.start("--tag", "Büro in Zürich").returncode == 0
    assert Path(f"/proc/{daemon.pid}/comm").read_bytes() == b"jobd master [B\xc3\n"
    assert daemon.jobctl("status").returncode == 0
    assert daemon.jobctl("stop").returncode == 0


def test_children_are_in_groups_of_their_own_and_preferred_by_the_oom_killer(
    detached: Callable[[], Daemon],
) -> None:
    daemon = detached()
    assert daemon.start().returncode == 0
    own = int(Path(f"/proc/{daemon.pid}/oom_score_adj").read_text())
    for child in daemon.children():
        assert os.getpgid(child.pid) == child.pid
        score = int(Path(f"/proc/{child.pid}/oom_score_adj").read_text())
        assert score == min(1000, own + 200)


def test_children_hold_neither_the_lock_nor_the_control_socket(
    detached: Callable[[], Daemon],
) -> None:
    daemon = detached()
    assert daemon.start("-w", "2").returncode == 0
    for child in daemon.children():
        targets = [str(fd.readlink()) for fd in Path(f"/proc/{child.pid}/fd").iterdir()]
        assert not [target for target in targets if "jobd.pid" in target or "pidfd" in target]
        assert len([target for target in targets if "jobd-dump" in target]) == 1


def test_a_second_start_is_refused_at_the_prompt(detached: Callable[[], Daemon]) -> None:
    daemon = detached()
    assert daemon.start().returncode == 0
    before = daemon.pidfile.read_text()
    second = subprocess.run(
        daemon.command("start", "-r", "app"),
        capture_output=True,
        text=True,
        cwd=daemon.directory,
        env=environment(),
        timeout=20,
    )
    assert second.returncode == 73
    assert second.stderr == (
        f"jobd: jobd is already running, pid {daemon.pid} (pidfile {daemon.pidfile})\n"
    )
    assert daemon.pidfile.read_text() == before


def test_a_log_that_cannot_be_written_is_told_at_the_prompt(
    detached: Callable[[], Daemon],
) -> None:
    daemon = detached()
    done = daemon.start("--logfile", str(daemon.directory / "missing" / "jobd.log"))
    assert done.returncode == 73
    assert "cannot open the log file" in done.stderr
    assert not daemon.pidfile.exists()


def test_start_without_a_log_is_refused(detached: Callable[[], Daemon]) -> None:
    daemon = detached()
    done = daemon.start("--logfile", "")
    assert done.returncode == 78
    assert "--logfile" in done.stderr


def test_inherited_signal_dispositions_do_not_matter(daemon: StartDaemon) -> None:
    running = daemon("import signal\nprint(signal.getsignal(signal.SIGHUP), flush=True)\n")
    running.signal(signal.SIGHUP)  # not "terminal closed": stdin is no terminal
    running.wait_for_log("generation 2 is complete")
