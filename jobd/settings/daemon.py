"""The settings of the daemon, in one frozen object. load.py reads their values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from jobd.schedules.schedule import Written
from jobd.settings import listening, redis_url
from jobd.settings.schema import (
    Objective,
    QueueSpec,
    Setting,
    describe,
    never_or_seconds,
    no_spaces,
    not_empty,
    setting,
)

__all__ = ["DEFAULT_PIDFILE", "SETTINGS", "Config", "QueueSpec", "fixed_changes"]

#: Path of the pidfile if none is set.
DEFAULT_PIDFILE = "/run/jobd/jobd.pid"

QueueMode = Literal["strict", "weighted", "random"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config:
    """The settings of one daemon.

    The constructor (``Config(workers=2)``) does not validate; :func:`jobd.settings.load.load` does.

    Example:
        >>> Config(queues=(QueueSpec("high", 3), QueueSpec("low", 1))).queue_mode
        'weighted'
    """

    require: tuple[str, ...] = setting(
        (),
        "Application to load: a module (shop.jobs), a file (./jobs.py) or a jobd.App (shop:app).",
        "-r",
        "--require",
        check=not_empty,
        metavar="MODULE|FILE",
    )
    queues: tuple[QueueSpec, ...] = setting(
        (QueueSpec("default"),),
        "Queue to serve, with an optional weight.",
        "-q",
        "--queue",
        metavar="NAME[,WEIGHT]",
    )
    concurrency: int = setting(
        10,
        "Jobs that each worker process runs concurrently in threads.",
        "-c",
        "--concurrency",
        unit="threads",
        minimum=1,
        maximum=1000,
    )
    async_concurrency: int = setting(
        100,
        "`async def` jobs that each worker process runs concurrently, beside its threads.",
        unit="coroutines",
        minimum=1,
        maximum=10_000,
    )
    loop: str = setting(
        "auto",
        "Event loop of `async def` jobs. auto: uvloop where it is installed, otherwise asyncio.",
        choices=("auto", "asyncio", "uvloop"),
    )
    workers: int = setting(
        1,
        "Worker processes.",
        "-w",
        "--workers",
        unit="processes",
        minimum=1,
        maximum=256,
    )
    timeout: float = setting(
        8.0,
        "Time for running jobs to finish at a stop, before they are returned to their queues.",
        "-t",
        "--timeout",
        unit="seconds",
        minimum=0,
        maximum=86400,
    )
    pidfile: str = setting(
        "",
        f"File that holds the master's process id. Empty: {DEFAULT_PIDFILE}.",
        "-P",
        "--pidfile",
        path=True,
        metavar="FILE",
        fixed=True,
    )
    logfile: str = setting(
        "",
        "File that the log is appended to. Empty: standard error.",
        path=True,
        metavar="FILE",
        fixed=True,
    )
    user: str = setting(
        "",
        "User to run as, if the daemon is started by root. Empty: the user that starts it.",
        metavar="NAME|UID",
        fixed=True,
    )
    group: str = setting(
        "",
        "Group to run as. Empty: the user's own.",
        metavar="NAME|GID",
        fixed=True,
    )
    log_level: str = setting(
        "info",
        "Lowest level that is logged.",
        choices=("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "console", "Readable lines, or one JSON object per line.", choices=("console", "json")
    )
    log_max_value: int = setting(
        65_536,
        "Maximum length of a logged value, message or traceback; four times that for a record.",
        unit="characters",
        minimum=1000,
        maximum=16_777_216,
    )
    redis: str = setting(
        "redis://127.0.0.1:6379/0",
        "Address of the Redis or Valkey server: redis://, rediss:// (TLS), unix:// or a Sentinel.",
        env=("JOBD_REDIS", "REDIS_URL"),
        check=redis_url.read,
        metavar="URL",
        fixed=True,
    )
    prefix: str = setting(
        "",
        "Prefix of all keys in Redis. Leave it empty to share queues with a Ruby application.",
        fixed=True,
    )
    environment: str = setting(
        "development",
        "Name of the environment; selects [environments.NAME] in the file.",
        "-e",
        "--environment",
        env=("JOBD_ENV",),
        check=no_spaces,
        metavar="NAME",
    )
    directory: str = setting(
        "",
        "Working directory; the application is imported from it. Empty: where jobd is started.",
        path=True,
        metavar="DIR",
        fixed=True,
    )
    start_timeout: float = setting(
        60.0, "Time limit for the daemon to become ready.", unit="seconds", minimum=1, maximum=86400
    )
    boot_timeout: float = setting(
        60.0,
        "Time limit for a worker to load the application and become ready.",
        unit="seconds",
        minimum=1,
        maximum=86400,
    )
    preload: bool = setting(
        False,
        "Import the application once and fork all workers from that process, to share memory.",
        fixed=True,
    )
    reload_timeout: float = setting(
        3600.0,
        "Time for running jobs to finish in workers that are replaced.",
        unit="seconds",
        minimum=0,
        maximum=604_800,
    )
    max_extra: int = setting(
        0,
        "Maximum number of replaced workers that are still finishing their jobs. 0: no limit.",
        unit="processes",
        minimum=0,
        maximum=256,
    )
    worker_timeout: float = setting(
        60.0,
        "Time after which a process whose main thread hangs is dumped and killed. 0: never.",
        unit="seconds",
        minimum=0,
        maximum=86400,
        check=never_or_seconds,
    )
    job_kill_grace: float = setting(
        30.0,
        "Time after which the worker of a job that ignores its own timeout is replaced. 0: never.",
        unit="seconds",
        minimum=0,
        maximum=86400,
    )
    max_jobs: int = setting(
        0,
        "Number of jobs after which a worker is replaced, ±20 % at random. 0: no limit.",
        unit="jobs",
        minimum=0,
    )
    max_age: float = setting(
        0.0,
        "Age at which a worker is replaced, ±20 % at random. 0: no limit.",
        unit="seconds",
        minimum=0,
    )
    memory_soft: int = setting(
        0,
        "Memory (PSS) of a worker above which it is replaced. 0: no limit.",
        unit="megabytes",
        minimum=0,
    )
    memory_hard: int = setting(
        0,
        "Memory (PSS) of a worker above which it is killed after 10 seconds. 0: no limit.",
        unit="megabytes",
        minimum=0,
    )
    exit_on_crash_loop: bool = setting(
        False,
        "Exit if the daemon's processes crash repeatedly, instead of restarting them further.",
    )
    metrics: bool = setting(
        True,
        "Record the number and duration of each job's executions, for the dashboard.",
    )
    lineage: bool = setting(
        False,
        "Record in each job that a job pushes which one that was, for the dashboard.",
    )
    max_retries: int = setting(
        25,
        "Number of retries of a failing job, unless its own options set one.",
        unit="retries",
        minimum=0,
        maximum=1000,
    )
    dead_max_jobs: int = setting(
        10_000, "Maximum number of jobs in the dead set.", unit="jobs", minimum=1
    )
    dead_timeout: float = setting(
        15_552_000.0, "Maximum time that a job stays in the dead set.", unit="seconds", minimum=1
    )
    max_payload: int = setting(
        1_048_576,
        "Maximum size of a job that is pushed, as JSON.",
        unit="bytes",
        minimum=1024,
        maximum=536_870_912,
    )
    poll_interval: float = setting(
        1.0,
        "Interval between checks for retries and scheduled jobs that are due.",
        unit="seconds",
        minimum=0.05,
        maximum=3600,
    )
    app: str = setting(
        "",
        "Name of the application that owns the periodic jobs. Empty: what it loads (require).",
        metavar="NAME",
    )
    leader: bool = setting(
        True, "Whether this daemon may lead. Of all daemons on one Redis, one does."
    )
    slo: tuple[Objective, ...] = setting(
        (),
        "Seconds within which the jobs of a queue are to start; how many start later is counted.",
        metavar="QUEUE=SECONDS",
    )
    health: str = setting(
        "",
        "Address for health over HTTP: 127.0.0.1:7433, or the path of a UNIX socket. Empty: none.",
        check=listening.empty_or_address,
        metavar="HOST:PORT|PATH",
    )
    tag: str = setting("", "Text that dashboards show beside this daemon.")
    labels: tuple[str, ...] = setting(
        (),
        "Label that dashboards show with this daemon's processes.",
        "--label",
        check=no_spaces,
        metavar="WORD",
    )
    periodic: tuple[Written, ...] = ()
    """Periodic jobs, each a section ``[[periodic]]`` of the file."""

    @property
    def queue_mode(self) -> QueueMode:
        """The order in which queues are tried.

        ``strict``: always as configured (no weights). ``random``: all weights are 1.
        ``weighted``: otherwise; a queue without a weight has weight 1.
        """
        weights = {queue.weight for queue in self.queues}
        if weights <= {0}:
            return "strict"
        return "random" if weights == {1} else "weighted"

    @property
    def places(self) -> int:
        """How many jobs a worker runs at most at a time, of both kinds."""
        return self.concurrency + self.async_concurrency

    def unserved(self, queues: Iterable[str]) -> list[str]:
        """Those of *queues*, and of the periodic jobs here, from which this daemon takes none."""
        ticks = (one.options.get("queue") for one in self.periodic if not one.foreign)
        wanted = {*queues, *(str(queue) for queue in ticks if queue is not None)}
        return sorted(wanted - {queue.name for queue in self.queues})

    def redacted(self) -> Config:
        """A copy that is safe to show: the Redis password is masked."""
        return replace(self, redis=redis_url.redact(self.redis))

    def __repr__(self) -> str:
        shown = ((one.name, getattr(self, one.name)) for one in SETTINGS)
        text = (
            (name, redis_url.redact(value) if name == "redis" else value) for name, value in shown
        )
        return f"Config({', '.join(f'{name}={value!r}' for name, value in text)})"


#: The description of every field of Config, in order.
SETTINGS: tuple[Setting, ...] = describe(Config)
_FIXED = tuple(one.name for one in SETTINGS if one.fixed)


def fixed_changes(before: Config, after: Config) -> list[str]:
    """Names of the settings that differ but cannot change while the daemon runs.

    >>> fixed_changes(Config(timeout=8.0, prefix="a:"), Config(timeout=9.0, prefix="b:"))
    ['prefix']
    """
    return [name for name in _FIXED if getattr(before, name) != getattr(after, name)]
