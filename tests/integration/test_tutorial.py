"""The tutorial, followed literally: its files are saved, its commands run, and do what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import WaitFailed, environment, wait
from tests.support.ports import free_port

PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text()
PARTS = {
    kind: dict(
        re.findall(rf"^<!-- {kind}: (.+?) -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    )
    for kind in ("file", "run", "log")
}


def message(line: str) -> str:
    """What a line of the log says, without what differs between runs."""
    found = re.search(r"job-\d+ +(.+?)(?= elapsed=| class=)", line)
    assert found, line
    return found[1].strip()


class Reader:
    """Somebody who follows the page in a directory of their own, with ports of their own."""

    def __init__(self, directory: Path, server: EmbeddedServer) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[bytes]] = []
        self.web, self.dashboard = free_port(), free_port()
        self.settings = environment(
            {
                "JOBD_REDIS": server.url,
                "JOBD_WEB_PORT": str(self.dashboard),
                "FLASK_RUN_PORT": str(self.web),
            }
        )
        if not entry_points(group="pytest11", name="jobd"):  # a checkout that is not installed
            self.settings["PYTEST_PLUGINS"] = "jobd_pytest"

    def save(self, name: str) -> None:
        (self.directory / name.removesuffix(" again")).write_text(PARTS["file"][name])

    def start(self, step: str) -> None:
        (line,) = PARTS["run"][step].splitlines()
        with (self.directory / f"{step}.out").open("wb") as output:
            started = spawn(
                self.command(line),
                output=output,
                directory=self.directory,
                environment=self.settings,
            )
        self.started.append(started)

    def end(self) -> None:
        for each in self.started:
            each.terminate()
        for each in self.started:
            each.wait(30)

    def command(self, line: str) -> list[str]:
        """What a line of the page runs, from this checkout."""
        name, *arguments = shlex.split(line)
        return [sys.executable, *([] if name == "python" else ["-m", name]), *arguments]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(line),
            cwd=self.directory,
            env=self.settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def says(self, step: str, text: str) -> None:
        """Wait for a text in the output of what was started in a step."""
        found = (self.directory / f"{step}.out").read_text
        try:
            wait(lambda: text in found(), 30, f"{text!r} from {step}")
        except WaitFailed as problem:
            raise WaitFailed(f"{problem}\n{found()}") from None

    def push(self, step: str) -> str:
        """Does what curl does: the tests need none."""
        found = re.fullmatch(r"curl -d (\S+) (http://\S+)\n", PARTS["run"][step])
        assert found, PARTS["run"][step]
        url = found[2].replace(":5000/", f":{self.web}/")
        request = urllib.request.Request(url, data=found[1].encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 202
            return str(answer.read().decode())

    def get(self, url: str) -> str:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())


@pytest.fixture
def reader(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Reader]:
    pytest.importorskip("flask")
    found = Reader(tmp_path, server)
    found.save("shop.py")
    found.save("web.py")
    yield found
    found.end()


def test_from_nothing_to_a_job_that_fails(reader: Reader) -> None:
    reader.start("worker")
    reader.start("web")
    reader.says("web", "Running on")
    reader.says("worker", "jobd dev  ready")
    assert "<form" in reader.get(f"http://127.0.0.1:{reader.web}/")
    assert re.fullmatch(r'\{"job": ?"[0-9a-f]{24}"\}\n?', reader.push("push"))
    reader.says("worker", message(PARTS["log"]["first"]))
    reader.save("shop.py again")
    reader.says("worker", "reloaded")
    reader.push("fail")
    reader.says("worker", message(PARTS["log"]["fail"]))
    assert "Bob is no address" in reader.get(f"http://127.0.0.1:{reader.dashboard}/retries")


def test_the_tests_pass(reader: Reader) -> None:
    reader.save("shop.py again")
    reader.save("test_shop.py")
    done = reader.run(PARTS["run"]["test"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_towards_production(reader: Reader) -> None:
    reader.save("jobd.toml")
    for line in PARTS["run"]["production"].splitlines():
        done = reader.run(line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
