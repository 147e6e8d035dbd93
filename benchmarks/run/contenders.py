"""Who is measured, how its workers are started, and where it keeps its queue."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from importlib import metadata
from pathlib import Path

from benchmarks import apps

THREADS = apps.THREADS

Commands = list[list[str]]


class Kind(Enum):
    """What a tool's queue is in Redis."""

    LIST = auto()
    SORTED_SET = auto()
    STREAM = auto()


@dataclass(frozen=True)
class Setup:
    """How workers are to be started.

    Attributes:
        quiet: log warnings only; otherwise what the tool logs by default.
        at_once: jobs that each process runs at the same time.
    """

    processes: int = 1
    quiet: bool = True
    at_once: int = THREADS


@dataclass(frozen=True)
class Contender:
    """One tool.

    Attributes:
        name: also names its module in :mod:`benchmarks.apps`.
        module: what must be importable for it.
        commands: worker commands.
        queue: Redis key of its queue.
        beside: patterns of other keys that hold parts of its jobs.
        kind: type of that key.
        unfinished: key that is empty once its workers have put away all that they ran; for tools
            that remove what belongs to a job after it, under a name that the next drain uses, too.
        expected: processes that run jobs, of one "process" in the sense of the comparison.
        peer: whether it is one of the Python tools that jobd is compared with.
        since: the oldest Python that it runs on.
        apart: whether it has an environment of its own, as what it requires does not go with what
            the others require.
        coroutines: how many one process of it is to run at the same time when it is given as many
            as it can: all where it has no limit, none where it has no coroutines.
    """

    name: str
    module: str
    commands: Callable[[Setup], Commands]
    queue: str
    beside: tuple[str, ...] = ()
    kind: Kind = Kind.LIST
    unfinished: str = ""
    expected: int = 1
    peer: bool = True
    since: tuple[int, int] = (3, 11)
    apart: bool = False
    coroutines: int = 0

    @property
    def python(self) -> str:
        """The interpreter for its client."""
        return _apart(self.name, "python") if self.apart else sys.executable

    @property
    def missing(self) -> str:
        """Why it cannot be measured here; empty when it can."""
        if self.name == "sidekiq":
            return _sidekiq_missing()
        if sys.version_info < self.since:
            return f"it needs Python {self.since[0]}.{self.since[1]} or newer"
        if self.apart and not Path(self.python).exists():
            return f"it has no environment of its own ({self.python}; `make bench` makes it)"
        if not self.apart and importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed (pip install '.[bench]')"
        return ""

    @property
    def version(self) -> str:
        """What is measured; empty for what belongs to jobd itself or is not there."""
        if self.missing or self.module == "jobd":
            return ""
        if self.name == "sidekiq":
            return _ruby("print Sidekiq::VERSION").stdout
        if self.apart:
            program = f"from importlib import metadata; print(metadata.version({self.name!r}))"
            command = [self.python, "-c", program]
            return subprocess.check_output(command, text=True).strip()
        return metadata.version(self.name)


def _apart(name: str, program: str) -> str:
    """A program of the environment that a contender has for itself, beside this one."""
    return str(Path(sys.prefix) / f"bench-{name}" / "bin" / program)


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


def _jobd(setup: Setup) -> Commands:
    level = ["--log-level", "warning"] if setup.quiet else []
    app = ["-r", "benchmarks.apps.jobd_app"]
    # A variable, not a flag: commits before the setting do not refuse it.
    many = ["env", f"JOBD_ASYNC_CONCURRENCY={setup.at_once}"]
    command = [*many, sys.executable, "-m", "jobd", "run", *app, "-c", str(THREADS)]
    return [[*command, "-w", str(setup.processes), *level]]


def _bare(setup: Setup) -> Commands:
    return [[sys.executable, "-m", "benchmarks.apps.bare_worker"]] * setup.processes


def _dramatiq(setup: Setup) -> Commands:
    app = "benchmarks.apps.dramatiq_app"
    return [[_script("dramatiq"), app, "-p", str(setup.processes), "-t", str(setup.at_once)]]


def _huey(setup: Setup) -> Commands:
    level = ["-q"] if setup.quiet else []
    app = "benchmarks.apps.huey_app.huey"
    threads = ["-w", str(setup.at_once), "-k", "thread"]
    return [[_script("huey_consumer"), app, *threads, *level]] * setup.processes


def _taskiq(setup: Setup) -> Commands:
    level = ["--log-level", "WARNING"] if setup.quiet else []
    app = "benchmarks.apps.taskiq_app:broker"
    threads = ["--max-threadpool-threads", str(THREADS)]
    # Its own limit of coroutines, 100, stays unless more are asked for.
    if setup.at_once > THREADS:
        threads += ["--max-async-tasks", str(setup.at_once)]
    return [[_script("taskiq"), "worker", app, "-w", str(setup.processes), *threads, *level]]


def _celery(setup: Setup) -> Commands:
    level = ["-l", "WARNING"] if setup.quiet else []
    command = [_script("celery"), "-A", "benchmarks.apps.celery_app", "worker", "-Q", "bench"]
    pool = ["-P", "threads", "-c", str(setup.at_once), *level]
    return [[*command, *pool, "-n", f"bench{number}@%h"] for number in range(setup.processes)]


def _rq(setup: Setup) -> Commands:
    level = ["-q"] if setup.quiet else []
    workers = ["-n", str(THREADS * setup.processes), "-w", "rq.worker.SimpleWorker"]
    return [[_script("rq"), "worker-pool", *workers, *level, "-u", "{url}", "bench"]]


def _arq(setup: Setup) -> Commands:
    level = ["--custom-log-dict", "benchmarks.apps.arq_app.LOGS"] if setup.quiet else []
    settings = "benchmarks.apps.arq_app.Settings"
    return [[_apart("arq", "arq"), settings, *level]] * setup.processes


def _saq(setup: Setup) -> Commands:
    # By default it logs warnings only.
    return [[_apart("saq", "saq"), "benchmarks.apps.saq_app.settings"]] * setup.processes


def _streaq(setup: Setup) -> Commands:
    return [[_script("streaq"), "run", "benchmarks.apps.streaq_app:worker"]] * setup.processes


def _ardiq(setup: Setup) -> Commands:
    # By default it logs nothing of jobs that succeed.
    app = "benchmarks.apps.ardiq_app:app"
    return [[_script("ardiq"), "run", "-q", "-w", str(setup.processes), app]]


def _sidekiq(setup: Setup) -> Commands:
    app = str(Path(__file__).parents[1] / "apps" / "sidekiq_app.rb")
    command = [_script("sidekiq"), "-r", app, "-c", str(setup.at_once), "-q", "default"]
    return [command] * setup.processes


MANY = 10_000
"""Coroutines that are to sleep at the same time."""

WAITING = 1_000
"""Where each coroutine keeps something waiting: a thread (dramatiq) or a connection to Redis
(SAQ)."""

JOBD = Contender("jobd", "jobd", _jobd, "queue:default", peer=False, coroutines=MANY)

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
        unfinished="dramatiq:__acks__.*.default",
        coroutines=WAITING,
    ),
    Contender("huey", "huey", _huey, "huey.redis.bench"),
    Contender("taskiq", "taskiq_redis", _taskiq, "bench", coroutines=MANY),
    Contender("celery", "celery", _celery, "bench"),
    Contender(
        "rq",
        "rq",
        _rq,
        "rq:queue:bench",
        expected=THREADS,
        beside=("rq:job:*",),
        unfinished="rq:wip:bench",
    ),
    Contender(
        "arq",
        "arq",
        _arq,
        "arq:queue",
        beside=("arq:job:*",),
        kind=Kind.SORTED_SET,
        unfinished="arq:queue",
        apart=True,
        coroutines=MANY,
    ),
    Contender(
        "saq",
        "saq",
        _saq,
        "saq:bench:queued",
        beside=("saq:job:bench:*", "saq:bench:incomplete"),
        unfinished="saq:bench:active",
        apart=True,
        coroutines=WAITING,
    ),
    Contender(
        "streaq",
        "streaq",
        _streaq,
        "streaq:bench:queues:normal",
        beside=("streaq:bench:task:data:*",),
        kind=Kind.STREAM,
        unfinished="streaq:bench:queues:normal",
        coroutines=MANY,
    ),
    Contender(
        "ardiq",
        "ardiq",
        _ardiq,
        "ardiq:bench:queues:default",
        beside=("ardiq:bench:task:data:*",),
        kind=Kind.STREAM,
        unfinished="ardiq:bench:queues:default",
        since=(3, 12),
        coroutines=MANY,
    ),
    Contender("sidekiq", "", _sidekiq, "queue:default", peer=False),
)

BY_NAME = {each.name: each for each in CONTENDERS}
