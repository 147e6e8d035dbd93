"""``jobd demo`` shows real work, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.api import Stats
from jobd.demo.scene import Scene
from jobd.testing import EmbeddedServer
from tests.support import processes
from tests.support.daemon import environment, wait

DEMO = "import sys; from jobd.demo import main; sys.exit(main({redis!r}, {seconds}, {stay}))"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def command(seconds: float, redis: str | None = None, *, stay: float = 0.1) -> list[str]:
    return [sys.executable, "-c", DEMO.format(redis=redis, seconds=seconds, stay=stay)]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the demo puts its temporary directories (a short path, for the socket's sake)."""
    with tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def scratch(directory: Path) -> dict[str, str]:
    """The environment of a demo that works there."""
    return environment({"TMPDIR": str(directory), "XDG_RUNTIME_DIR": str(directory)})


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def work_comes_in(directory: Path) -> bool:
    return any(said.read_text() for said in directory.glob("jobd-demo-*/app.out"))


def test_without_a_terminal_it_ends_with_its_work(scratch: dict[str, str], directory: Path) -> None:
    done = subprocess.run(
        command(1.0), capture_output=True, text=True, timeout=100, env=scratch, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\nall jobs are done; none were lost\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert left_in(directory) == []


def test_it_ends_with_a_dashboard_that_shows_its_jobs(
    scratch: dict[str, str], directory: Path
) -> None:
    with subprocess.Popen(
        command(1.0, stay=100.0), stdout=subprocess.PIPE, text=True, env=scratch
    ) as demo:
        assert demo.stdout is not None
        found = (_ADDRESS.search(line) for line in demo.stdout if line.startswith("dashboard, "))
        address = next(match[0] for match in found if match)

        def shows_its_jobs() -> bool:
            with urllib.request.urlopen(f"{address}classes", timeout=30) as page:
                shown = page.read().decode()
            return all(f"jobs.{name}" in shown for name in ("checksum", "thumbnail"))

        wait(shows_its_jobs, 30, "the workers have sent their metrics")
        demo.terminate()
        assert demo.stdout.read().endswith("nothing is left behind\n")
    assert demo.returncode == 0
    assert left_in(directory) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_on_a_terminal_it_stays_until_it_is_told_to_end(
    scratch: dict[str, str], directory: Path, ending: signal.Signals
) -> None:
    size = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, command(30.0), {**scratch, **size})
    said = ""

    def read() -> bool:
        nonlocal said
        if not select.select([terminal], [], [], 0.1)[0]:
            return True
        try:
            said += _CONTROL.sub("", os.read(terminal, 65536).decode(errors="replace"))
        except OSError:  # the other end is closed
            return False
        return True

    def says(pattern: str) -> bool:
        return not read() or re.search(pattern, said) is not None

    try:
        wait(
            lambda: says(r"(?s)done +[1-9].*http://127\.0\.0\.1:\d+/.*JOBD_PIDFILE="),
            30,
            "the demo shows jobs that are done, and its dashboard",
        )
        assert "nothing is left behind" not in said
        if ending is signal.SIGINT:
            os.write(terminal, b"\x03")
        else:
            os.kill(pid, ending)
        wait(lambda: not read(), 20, "the demo has ended")
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert said.rstrip().endswith("nothing is left behind")
    assert left_in(directory) == []
    assert processes.descendants() == []


def look(*, done: int, retry: int) -> Scene:
    """What one look has read of two jobs."""
    stats = Stats(done, 0, 0, 0, 0, 0, retry, 0, 1, 0.0, 0, 0, 0, {})
    return Scene(stats, 2, pushing=False, workers=[], events=[], daemon_ended=False)


def test_a_job_that_moves_during_a_look_is_not_lost() -> None:
    """It was retried: it is in the set no more, and not counted yet."""
    waits, moves, ends = look(done=1, retry=1), look(done=1, retry=0), look(done=2, retry=0)
    assert not waits.settled(None)
    assert not moves.settled(waits)
    assert not ends.settled(moves)
    assert ends.settled(ends)
    assert ends.lost == 0


def test_a_killed_worker_loses_nothing(scratch: dict[str, str], directory: Path) -> None:
    with subprocess.Popen(command(1.5), stdout=subprocess.PIPE, text=True, env=scratch) as demo:
        wait(lambda: work_comes_in(directory), 30, "work comes in")
        workers = [p for p in processes.descendants() if "jobd worker" in " ".join(p.cmdline())]
        assert workers
        workers[0].kill()
        said, _ = demo.communicate(timeout=100)
    assert demo.returncode == 0, said
    assert "none were lost" in said


def test_even_a_killed_demo_leaves_no_process(scratch: dict[str, str], directory: Path) -> None:
    demo = subprocess.Popen(command(30.0), stdout=subprocess.DEVNULL, env=scratch)
    wait(lambda: work_comes_in(directory), 30, "work comes in")
    started = processes.descendants()
    assert len(started) > 4
    demo.kill()
    demo.wait()

    def gone() -> bool:
        processes.reap()
        return not any(process.is_running() for process in started)

    wait(gone, 40, "server, daemon and application have gone")


def test_a_given_server_keeps_what_was_in_it(
    scratch: dict[str, str], directory: Path, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    redis.lpush("queue:default", "mine")
    done = subprocess.run(
        command(0.5, server.tcp_url),
        capture_output=True,
        text=True,
        timeout=100,
        env=scratch,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert redis.keys("*") == [b"queue:default"]
    assert redis.lrange("queue:default", 0, -1) == [b"mine"]


def test_a_server_that_does_not_answer_is_named(scratch: dict[str, str], directory: Path) -> None:
    done = subprocess.run(
        command(1.0, "redis://127.0.0.1:1/0"),
        capture_output=True,
        text=True,
        timeout=60,
        env=scratch,
        check=False,
    )
    assert done.returncode == 69
    assert "Redis at 127.0.0.1:1 does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(directory) == []
