"""Who is measured, how its workers are started, and where it keeps its queue."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

THREADS = 10

Commands = list[list[str]]


@dataclass(frozen=True)
class Contender:
    """One tool.

    Attributes:
        name: also names its module in :mod:`benchmarks.apps`.
        module: what must be importable for it.
        commands: worker commands for so many processes, logging warnings only if told so.
        queue: Redis key of its queue, always a list.
        beside: patterns of other keys that hold parts of its jobs.
        expected: processes that run jobs, of one "process" in the sense of the comparison.
        peer: whether it is one of the Python tools that jobd is compared with.
    """

    name: str
    module: str
    commands: Callable[[int, bool], Commands]
    queue: str
    beside: tuple[str, ...] = ()
    expected: int = 1
    peer: bool = True

    @property
    def missing(self) -> str:
        """Why it cannot be measured here; empty when it can."""
        if self.name == "sidekiq":
            return _sidekiq_missing()
        if importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed (pip install '.[bench]')"
        return ""

    @property
    def version(self) -> str:
        """What is measured; empty for what belongs to jobd itself or is not there."""
        if self.missing or self.module == "jobd":
            return ""
        if self.name == "sidekiq":
            return _ruby("print Sidekiq::VERSION").stdout
        return metadata.version(self.name)


def _script(name: str) -> str:
    """A command installed beside this interpreter, or on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else (shutil.which(name) or name)


def _sidekiq_missing() -> str:
    if not shutil.which("ruby") or not shutil.which("sidekiq"):
        return "Sidekiq is not installed (apt-get install ruby-sidekiq)"
    loads = _ruby("")
    return f"Sidekiq does not load: {loads.stderr[-200:]}" if loads.returncode else ""


def _ruby(program: str) -> subprocess.CompletedProcess[str]:
    command = ["ruby", "-r", "sidekiq", "-e", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _jobd(processes: int, quiet: bool) -> Commands:
    level = ["--log-level", "warning"] if quiet else []
    app = ["-r", "benchmarks.apps.jobd_app"]
    command = [sys.executable, "-m", "jobd", "run", *app, "-c", str(THREADS)]
    return [[*command, "-w", str(processes), *level]]


def _bare(processes: int, _quiet: bool) -> Commands:
    return [[sys.executable, "-m", "benchmarks.apps.bare_worker"]] * processes


def _dramatiq(processes: int, _quiet: bool) -> Commands:
    app = "benchmarks.apps.dramatiq_app"
    return [[_script("dramatiq"), app, "-p", str(processes), "-t", str(THREADS)]]


def _huey(processes: int, quiet: bool) -> Commands:
    level = ["-q"] if quiet else []
    app = "benchmarks.apps.huey_app.huey"
    return [[_script("huey_consumer"), app, "-w", str(THREADS), "-k", "thread", *level]] * processes


def _taskiq(processes: int, quiet: bool) -> Commands:
    level = ["--log-level", "WARNING"] if quiet else []
    app = "benchmarks.apps.taskiq_app:broker"
    threads = ["--max-threadpool-threads", str(THREADS)]
    return [[_script("taskiq"), "worker", app, "-w", str(processes), *threads, *level]]


def _celery(processes: int, quiet: bool) -> Commands:
    level = ["-l", "WARNING"] if quiet else []
    command = [_script("celery"), "-A", "benchmarks.apps.celery_app", "worker", "-Q", "bench"]
    pool = ["-P", "threads", "-c", str(THREADS), *level]
    return [[*command, *pool, "-n", f"bench{number}@%h"] for number in range(processes)]


def _rq(processes: int, quiet: bool) -> Commands:
    level = ["-q"] if quiet else []
    workers = ["-n", str(THREADS * processes), "-w", "rq.worker.SimpleWorker"]
    return [[_script("rq"), "worker-pool", *workers, *level, "-u", "{url}", "bench"]]


def _sidekiq(processes: int, _quiet: bool) -> Commands:
    app = str(Path(__file__).parents[1] / "apps" / "sidekiq_app.rb")
    return [[_script("sidekiq"), "-r", app, "-c", str(THREADS), "-q", "default"]] * processes


JOBD = Contender("jobd", "jobd", _jobd, "queue:default", peer=False)

# The limit: what one thread of Python can do with jobd's own scripts. It takes jobd's queue.
BARE = Contender("bare", "jobd", _bare, "queue:default", peer=False)

CONTENDERS = (
    JOBD,
    BARE,
    Contender(
        "dramatiq",
        "dramatiq",
        _dramatiq,
        "dramatiq:default",
        beside=("dramatiq:default.msgs",),
    ),
    Contender("huey", "huey", _huey, "huey.redis.bench"),
    Contender("taskiq", "taskiq_redis", _taskiq, "bench"),
    Contender("celery", "celery", _celery, "bench"),
    Contender("rq", "rq", _rq, "rq:queue:bench", expected=THREADS, beside=("rq:job:*",)),
    Contender("sidekiq", "", _sidekiq, "queue:default", peer=False),
)
