"""`jobd check` ends as `jobd run` would, with the same code and sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.support.daemon import Daemon, environment


def ends(running: Daemon, verb: str, *flags: str) -> tuple[int, str]:
    done = subprocess.run(
        running.command(verb, "-r", "app", *flags),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=running.directory,
        env=environment(),
    )
    lines = done.stderr.splitlines()
    return done.returncode, lines[-1].removeprefix("  - ").removeprefix("jobd: ")


def nothing(_running: Daemon) -> None:
    """The daemon is as it should be."""


def without_pidfile(running: Daemon) -> None:
    """Somebody has removed it, and that of the lock; the master soon makes both again."""
    running.pidfile.unlink(missing_ok=True)
    running.pidfile.with_suffix(".lock").unlink(missing_ok=True)


@pytest.mark.parametrize("spoil", [nothing, without_pidfile])
def test_beside_a_running_daemon(idle_daemon: Daemon, spoil: Callable[[Daemon], None]) -> None:
    idle_daemon.write_app("from jobd import job\n\n@job\ndef ok(): ...\n")
    idle_daemon.run()
    idle_daemon.wait_ready()
    pidfile = idle_daemon.pidfile
    running = f"jobd is already running, pid {idle_daemon.pid}"
    sentences = {f"{running} (pidfile {pidfile})"}
    if spoil is without_pidfile:
        sentences.add(f"{running}, although its pidfile {pidfile} was removed; stop it first")
    for verb in (["check"], ["check", "-q", "mail"], ["run"]):
        spoil(idle_daemon)
        code, text = ends(idle_daemon, *verb)
        assert code == 73
        assert text in sentences
    assert idle_daemon.alive()


FAULTS: dict[str, tuple[list[str], int]] = {
    "application and Redis": (["-r", "nowhere", "--redis", "redis://127.0.0.1:1/0"], 66),
    "log and application": (["-r", "nowhere", "--logfile", "no/where.log"], 73),
    "pidfile and application": (["-r", "nowhere", "--pidfile", "no/where.pid"], 73),
    "pidfile, log and directory": (["--pidfile", "no/a.pid", "--directory", "no/where"], 78),
    "user and pidfile": (["--pidfile", "no/a.pid", "--user", "no-such-user"], 78),
    "setting and pidfile": (["--pidfile", "no/a.pid", "-c", "many"], 78),
    "files and application": (["-r", "nowhere", "-w", "256", "-c", "1000"], 78),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_of_several_faults_the_first_one_of_a_start_counts(idle_daemon: Daemon, fault: str) -> None:
    flags, code = FAULTS[fault]
    if fault.startswith("files"):
        # The limit is this shell's, and its children's.
        idle_daemon.prefix = ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"]
    idle_daemon.write_app("from jobd import job\n\n@job\ndef ok(): ...\n")
    idle_daemon.expect_in_log("worker_cannot_start")
    found = [
        ends(idle_daemon, verb, "--start-timeout", "5", *flags)[0] for verb in ("check", "run")
    ]
    assert found == [code, code]
