"""Deployments that switch a symbolic link to a new release, and a directory that goes away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, environment

APP = """
import json, os
from pathlib import Path
from jobd import job
import part, aside

@job(name="which")
def which(out):
    data, place = Path("data.txt").read_text(), os.path.basename(os.getcwd())
    answer = [part.NUMBER, aside.NUMBER, data, place]
    Path(out + ".new").write_text(json.dumps(answer))
    os.rename(out + ".new", out)
"""


def release(root: Path, number: int) -> None:
    place = root / "releases" / str(number)
    (place / "src").mkdir(parents=True)
    (place / "data.txt").write_text(str(number))
    (place / "app.py").write_text(APP)
    (place / "part.py").write_text(f"NUMBER = {number}\n")
    (place / "src" / "aside.py").write_text(f"NUMBER = {number}\n")
    (place / "jobd.toml").write_text(f'tag = "release{number}"\n')


def switch(root: Path, number: int) -> None:
    (root / "new").symlink_to(Path("releases") / str(number))
    (root / "new").replace(root / "current")


def which(running: Daemon, name: str) -> Any:
    out = running.directory / name
    Client(running.url).push({"class": "which", "args": [str(out)]})
    running.wait(out.exists, 15, "the job has run")
    return json.loads(out.read_text())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "srv"
    release(root, 1)
    switch(root, 1)
    return root


STARTS = {
    "in it": (".", []),
    "in it, as a script": (".", ["-r", "./app.py"]),
    "by directory": ("/", ["--directory", "{root}/current"]),
    "by relative directory": ("{root}", ["--directory", "current"]),
    "preloaded": (".", ["--preload"]),
    "preloaded by directory": ("/", ["--directory", "{root}/current", "--preload"]),
}


def start(running: Daemon, root: Path, how: str, verb: str) -> subprocess.CompletedProcess[str]:
    """As a shell does it: from a directory that has been gone to by its symbolic link."""
    place, flags = STARTS[how]
    place = place.format(root=root)
    path = f"{environment()['PYTHONPATH']}:{'src' if place == '.' else root / 'current/src'}"
    if place == ".":
        place = str(root / "current")
    running.prefix = [str(shutil.which("sh")), "-c", 'cd "$0" && exec "$@"', place]
    flags = [flag.format(root=root) for flag in flags]
    if "-r" in flags:
        flags, require = [], flags[1]
    else:
        require = "app"
    if verb == "start":
        return running.start(*flags, require=require, env={"PYTHONPATH": path})
    running.run(*flags, require=require, env={"PYTHONPATH": path})
    running.wait_ready()
    return subprocess.CompletedProcess([], 0)


@pytest.mark.parametrize("verb", ["run", "start"])
@pytest.mark.parametrize("how", STARTS)
def test_a_reload_brings_the_release_that_the_link_leads_to(
    idle_daemon: Daemon, redis: redis_py.Redis, root: Path, how: str, verb: str
) -> None:
    running = idle_daemon
    assert start(running, root, how, verb).returncode == 0
    assert which(running, "first") == [1, 1, "1", "1"]
    release(root, 2)
    switch(root, 2)
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 0, done.stderr
    assert which(running, "second") == [2, 2, "2", "2"]
    shutil.rmtree(root / "releases" / "1")
    release(root, 3)
    switch(root, 3)
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 0, done.stderr
    assert which(running, "third") == [3, 3, "3", "3"]
    if STARTS[how][0] == ".":  # with its configuration
        assert json.loads(running.jobctl("status", "--json").stdout)["tag"] == "release3"
    running.stop()


@pytest.mark.parametrize("how", ["in it", "by directory", "preloaded"])
def test_a_directory_that_has_gone_is_said_and_the_old_workers_go_on(
    idle_daemon: Daemon, redis: redis_py.Redis, root: Path, how: str
) -> None:
    running = idle_daemon
    start(running, root, how, "run")
    workers = running.workers()
    os.rename(root / "releases", root / "elsewhere")  # noqa: PTH104
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 1
    # Where its configuration is part of the release, that is missed first.
    gone = (f"{root}/current does not exist", f"{root}/current/jobd.toml: No such file")
    assert any(text in done.stderr for text in gone), done.stderr
    assert running.workers() == workers
    assert which(running, "still") == [1, 1, "1", "1"]
    os.rename(root / "elsewhere", root / "releases")  # noqa: PTH104
    assert running.jobctl("reload", "--wait").returncode == 0
    assert running.stop() == 0


def test_a_worker_that_is_replaced_meanwhile_says_so_and_comes_when_it_is_back(
    daemon: StartDaemon, idle_daemon: Daemon, redis: redis_py.Redis, root: Path
) -> None:
    running = idle_daemon
    start(running, root, "by directory", "run")
    (worker,) = running.workers()
    (root / "current").unlink()
    os.kill(worker, 9)
    running.wait_for_log(r"directory: \S+/current does not exist", 15)
    switch(root, 1)
    running.wait(lambda: running.workers() not in ([], [worker]), 30, "a new worker")
    assert which(running, "again") == [1, 1, "1", "1"]
    assert running.stop() == 0
