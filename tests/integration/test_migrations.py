"""The pages for people who come from another tool: the application that each shows in that tool and
in jobd runs in both, and does the same."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import environment, wait
from tests.support.versions import need

DOCS = Path(__file__).parents[2] / "docs"
TOOLS = ["celery", "rq", "dramatiq", "huey"]
DONE = ["welcome 42", "welcome 43!", "charged 7 at attempt 2"]
"""What the workers of every tool print."""


def shown(tool: str, by: str) -> dict[str, str]:
    """The files, and the commands, that the page of *tool* shows for an application *by* one."""
    text = (DOCS / f"from-{tool}.md").read_text()
    pattern = rf"^<!-- app: {by} (\S+) -->\n```\w+\n(.*?)^```$"
    return dict(re.findall(pattern, text, re.MULTILINE | re.DOTALL))


def start(parts: Mapping[str, str], directory: Path, url: str) -> subprocess.Popen[bytes]:
    """Save the application and start its worker, as a reader does."""
    (directory / "shop.py").write_text(parts["shop.py"])
    worker = parts["commands"].splitlines()[0].replace("$REDIS_URL", url)
    name, *arguments = shlex.split(worker)
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    assert program, f"{name} is not installed"
    command = [program, *arguments]
    if name == "jobd":  # of this checkout, wherever it is installed from
        command = [sys.executable, "-m", name, *arguments]
    with (directory / "log").open("wb") as output:
        return spawn(
            command, output=output, directory=directory, environment=settings(directory, url)
        )


def settings(directory: Path, url: str) -> dict[str, str]:
    found = environment({"REDIS_URL": url, "JOBD_REDIS": url, "PYTHONWARNINGS": "ignore"})
    return {**found, "PYTHONPATH": f"{found['PYTHONPATH']}:{directory}"}


def push(source: str, directory: Path, url: str) -> subprocess.CompletedProcess[str]:
    (directory / "push.py").write_text(source)
    return subprocess.run(
        [sys.executable, "push.py"],
        cwd=directory,
        env=settings(directory, url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def printed(running: subprocess.Popen[bytes], directory: Path, lines: list[str]) -> None:
    """Wait until a worker has printed all *lines*."""

    def done() -> bool:
        text = (directory / "log").read_text(errors="replace")
        assert running.poll() is None, text
        return all(line in text for line in lines)

    wait(done, 60, f"{lines} printed")


def run(parts: Mapping[str, str], directory: Path, url: str) -> None:
    running = start(parts, directory, url)
    assert parts["commands"].splitlines()[1:] == ["python push.py"]
    pushed = push(parts["push.py"], directory, url)
    assert pushed.stdout == "total 6\n", pushed.stderr + (directory / "log").read_text()
    printed(running, directory, DONE)
    running.terminate()
    running.wait(30)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_application_in_the_other_tool(
    tool: str, server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    need(tool)
    run(shown(tool, tool), tmp_path, server.tcp_url)


def test_the_same_application_in_jobd(
    server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    first, *others = (shown(tool, "jobd") for tool in TOOLS)
    assert all(each == first for each in others)
    run(first, tmp_path, server.tcp_url)


SLOW = {
    "celery": ("@app.task", "slow.delay"),
    "dramatiq": ("@dramatiq.actor", "slow.send"),
    "huey": ("@huey.task()", "slow"),
    "jobd": ("@job", "slow.perform_async"),
}
"""For each tool, how a task is declared and pushed."""


@pytest.mark.parametrize(
    ("tool", "kept"), [("celery", False), ("dramatiq", True), ("huey", False), ("jobd", True)]
)
def test_what_is_in_redis_of_a_task_while_it_runs(
    tool: str, kept: bool, server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """What is not there any more is lost if the worker is killed now, as the pages say."""
    need(tool)
    declare, call = SLOW[tool]
    parts = shown(tool if tool != "jobd" else "rq", tool)
    slow = f"\n\n{declare}\ndef slow(mark):\n    print('started', flush=True)\n    time.sleep(60)\n"
    source = f"{parts['shop.py']}{slow}".replace("\n\n\n", "\nimport time\n\n\n", 1)
    running = start({**parts, "shop.py": source}, tmp_path, server.tcp_url)
    try:
        pushed = push(f"from shop import slow\n{call}('mark-4711')\n", tmp_path, server.tcp_url)
        assert pushed.returncode == 0, pushed.stderr
        printed(running, tmp_path, ["started"])

        def there() -> bool:
            return any(b"mark-4711" in content(redis, key) for key in redis.scan_iter())

        wait(lambda: there() is kept, 20, f"the task is in Redis: {kept}")
    finally:
        children = psutil.Process(running.pid).children(recursive=True)
        running.kill()
        for child in children:
            child.kill()
        psutil.wait_procs(children, 30)
        running.wait(30)


def content(redis: redis_py.Redis, key: bytes) -> bytes:
    """All that is under a key."""
    match redis.type(key):
        case b"hash":
            return repr(redis.hgetall(key)).encode()
        case b"list":
            return repr(redis.lrange(key, 0, -1)).encode()
        case b"zset":
            return repr(redis.zrange(key, 0, -1)).encode()
        case b"set":
            return repr(redis.smembers(key)).encode()
        case _:
            return repr(redis.get(key)).encode()
