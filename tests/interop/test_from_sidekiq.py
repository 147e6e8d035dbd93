"""The application that docs/from-sidekiq.md shows in Ruby and in Python: either worker runs what
either program pushes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.interop.sidekiq import missing
from tests.support.daemon import environment, wait

PAGE = (Path(__file__).parents[2] / "docs/from-sidekiq.md").read_text()
DONE = ("welcome 42\n", "welcome 43!\n")


def shown(by: str) -> dict[str, str]:
    """The files, and the commands, of the application in Sidekiq or jobd."""
    pattern = rf"^<!-- app: {by} (\S+) -->\n```\w+\n(.*?)^```$"
    return dict(re.findall(pattern, PAGE, re.MULTILINE | re.DOTALL))


def command(line: str) -> list[str]:
    name, *arguments = shlex.split(line)
    if name in ("jobd", "python"):
        return [sys.executable, *(["-m", name] if name == "jobd" else []), *arguments]
    return [shutil.which(name) or name, *arguments]


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("worker", ["sidekiq", "jobd"])
@pytest.mark.parametrize("pusher", ["sidekiq", "jobd"])
def test_either_worker_runs_what_either_pushes(
    pusher: str, worker: str, server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    for by in ("sidekiq", "jobd"):
        for name, text in shown(by).items():
            (tmp_path / name).write_text(text)
    run = shown(worker)["commands"].splitlines()[0]
    push = shown(pusher)["commands"].splitlines()[1]
    settings = environment({"REDIS_URL": server.tcp_url})
    settings["PYTHONPATH"] += f":{tmp_path}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        running = spawn(command(run), output=output, directory=tmp_path, environment=settings)
    subprocess.run(command(push), cwd=tmp_path, env=settings, check=True, timeout=60)
    wait(lambda: all(line in log.read_text(errors="replace") for line in DONE), 60, f"{DONE}")
    running.terminate()
    assert running.wait(30) == 0
