"""Programs with a temporary directory that are killed: their processes end, and the next one
removes what they have left; nothing of those that live, or of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobd.testing import EmbeddedServer
from jobd.testing.scratch import Scratch
from tests.support import processes
from tests.support.daemon import environment, wait

SERVER = """
import time
from jobd.testing import EmbeddedServer
with EmbeddedServer():
    time.sleep(600)
"""

FORKS = """
import os, sys, time
from jobd.testing.scratch import Scratch
print(Scratch("fork").path, flush=True)
if os.fork():
    time.sleep(600)
os.close(1)
time.sleep(600)
"""

APP = """
from jobd import job

@job
def hello():
    pass
"""

PROGRAMS = {
    "server": ("-c", SERVER),
    "dev": ("-m", "jobd", "dev", "-r", "app", "--no-dashboard"),
    "demo": ("-c", "import sys; from jobd.demo import main; sys.exit(main(None, 600.0, 0.1))"),
    "chaos": ("-m", "jobctl", "chaos", "--seconds", "600", "--yes"),
}


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where temporary directories are made (a short path, for the sockets' sake)."""
    with tempfile.TemporaryDirectory(prefix="seat-", dir="/tmp") as made:
        yield Path(made)


def start(directory: Path, *arguments: str, url: str = "") -> subprocess.Popen[str]:
    env = environment({"TMPDIR": str(directory), "XDG_RUNTIME_DIR": str(directory)})
    if url:
        env["JOBD_REDIS"] = url
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def found(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("jobd-*")}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_a_killed_program_has_left_is_removed_by_the_next(
    kind: str, directory: Path, server: EmbeddedServer
) -> None:
    (directory / "app.py").write_text(APP)
    program = start(directory, *PROGRAMS[kind], url="" if kind == "demo" else server.tcp_url)
    wait(lambda: [*directory.glob(f"jobd-{kind}-*")], 60, "its directory is there")
    files = next(directory.glob(f"jobd-{kind}-*"))
    wait(lambda: len(list(files.iterdir())) > 1, 60, "it has written something")
    started = processes.descendants()
    living = Scratch("living", str(directory))
    assert files.exists()  # it lives, too
    kill(program)

    def gone() -> bool:
        processes.reap()
        return not any(one.is_running() for one in started)

    wait(gone, 60, "all its processes have ended")
    assert files.exists()
    Scratch("next", str(directory)).remove()
    assert found(directory) == {living.path.name}
    living.remove()


def test_a_directory_of_which_a_fork_lives_stays(directory: Path) -> None:
    program = start(directory, "-c", FORKS)
    assert program.stdout is not None
    path = Path(program.stdout.readline().strip())
    [child] = wait(lambda: psutil.Process(program.pid).children(), 30, "it has forked")
    kill(program)
    Scratch("next", str(directory)).remove()
    assert path.is_dir()
    os.kill(child.pid, signal.SIGKILL)

    def dead() -> bool:
        processes.reap()
        return not child.is_running()

    wait(dead, 30, "the fork is dead")
    Scratch("next", str(directory)).remove()
    assert not path.exists()


def test_what_is_not_ours_is_left_alone(directory: Path) -> None:
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".in-use").touch()
    plain, link, file, foreign = (directory / f"jobd-dev-{name}" for name in "abcd")
    plain.mkdir()
    (plain / "of a user").touch()
    link.symlink_to(elsewhere, target_is_directory=True)
    file.touch()
    foreign.mkdir()
    (foreign / ".in-use").symlink_to(elsewhere / ".in-use")
    if os.geteuid() == 0:
        another = directory / "jobd-dev-e"
        another.mkdir()
        (another / ".in-use").touch()
        os.chown(another, 65534, 65534)
    before = found(directory)
    Scratch("next", str(directory)).remove()
    assert found(directory) == before
    assert (elsewhere / ".in-use").exists()
    assert (plain / "of a user").exists()
