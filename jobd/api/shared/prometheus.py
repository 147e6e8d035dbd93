"""The metrics of one installation in the text format of Prometheus: of the dashboard, and of the
health listener of a daemon. The numbers come from Redis, so they are right however many processes
there are and however often they are replaced.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobd.api.info import RedisInfo
from jobd.api.processes import Process
from jobd.api.queues.queues import QueueSummary
from jobd.api.shared.figures import Figures
from jobd.api.stats import Stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MOST_QUEUES = 1_000
LONGEST_NAME = 200
"""Queues with numbers of their own, the largest ones, and characters of their names; who makes more
would fill Prometheus."""

_COUNTER, _GAUGE = "counter", "gauge"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric.

    Attributes:
        name: of its samples; that of a counter ends in ``_total``.
        samples: values by label; the label is "" where the metric has none.
        label: the name of the label.
    """

    name: str
    kind: str
    help: str
    samples: tuple[tuple[str, float], ...]
    label: str = ""


def text(figures: Figures) -> str:
    """All metrics; all of them or an error.

    Raises:
        UnavailableError: the server does not answer.

    Example:
        >>> prometheus.text(Figures(api)).splitlines()[2]  # doctest: +SKIP
        'jobd_jobs_processed_total 1234567'
    """
    found = figures.stats(), figures.queues(), figures.processes(), figures.info()
    return "".join(lines(families(*found, known=figures.known_queues())))


def families(
    stats: Stats,
    queues: list[QueueSummary],
    processes: list[Process],
    info: RedisInfo,
    *,
    known: int,
) -> Iterator[Family]:
    """The metrics, from what was read. *known* is the number of all queues."""
    yield from _jobs(stats)
    yield from _queues(queues, known)
    yield from _workers(processes)
    yield from _server(info)


def lines(metrics: Iterable[Family]) -> Iterator[str]:
    """Their text.

    >>> print("".join(lines([Family("jobd_up", "gauge", "It is.", (("a\\nb", 1.0),), "queue")])))
    # HELP jobd_up It is.
    # TYPE jobd_up gauge
    jobd_up{queue="a\\nb"} 1
    <BLANKLINE>
    """
    for one in metrics:
        yield f"# HELP {one.name} {one.help}\n# TYPE {one.name} {one.kind}\n"
        for value, number in one.samples:
            label = f'{{{one.label}="{_escaped(value)}"}}' if one.label else ""
            yield f"{one.name}{label} {_number(number)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    return repr(int(value)) if value == int(value) else repr(float(value))


def _one(name: str, kind: str, text: str, value: float) -> Family:
    return Family(name, kind, text, (("", value),))


def _jobs(stats: Stats) -> Iterator[Family]:
    totals = (
        ("processed", "Executions that ended, failed ones too.", stats.processed),
        ("failed", "Executions that failed.", stats.failed),
        ("expired", "Jobs that were too late to start.", stats.expired),
        (
            "cancelled",
            "Jobs that were cancelled after a worker had claimed them.",
            stats.cancelled,
        ),
        ("duplicate", "Pushes of unique jobs that were refused.", stats.duplicates),
    )
    for name, told, value in totals:
        yield _one(f"jobd_jobs_{name}_total", _COUNTER, told, value)
    states = (
        ("enqueued", stats.enqueued),
        ("scheduled", stats.scheduled_size),
        ("retry", stats.retry_size),
        ("dead", stats.dead_size),
        ("running", stats.workers_size),
        ("in_flight", stats.in_flight),
    )
    yield Family("jobd_jobs", _GAUGE, "Jobs by where they are.", states, "state")


def _queues(queues: list[QueueSummary], known: int) -> Iterator[Family]:
    short = [queue for queue in queues if len(queue.name) <= LONGEST_NAME]
    named = sorted(short, key=lambda queue: -queue.size)[:MOST_QUEUES]
    sizes = tuple((queue.name, queue.size) for queue in named)
    waits = tuple((queue.name, queue.latency) for queue in named)
    pauses = tuple((queue.name, queue.paused) for queue in named)
    yield Family("jobd_queue_jobs", _GAUGE, "Jobs that wait in a queue.", sizes, "queue")
    told = "How long its oldest job has waited."
    yield Family("jobd_queue_latency_seconds", _GAUGE, told, waits, "queue")
    yield Family("jobd_queue_paused", _GAUGE, "1 if no worker takes jobs from it.", pauses, "queue")
    yield _one("jobd_queues", _GAUGE, "Known queues.", known)
    # All that have one: the configuration names them, and an alert must not depend on their size.
    slos = [(queue.name, queue.slo) for queue in short if queue.slo is not None]
    yield Family(
        "jobd_queue_slo_seconds",
        _GAUGE,
        "Within how many seconds the jobs of a queue are to start.",
        tuple((name, slo.objective) for name, slo in slos),
        "queue",
    )
    yield Family(
        "jobd_queue_started_total",
        _COUNTER,
        "Jobs that started, of a queue that has an objective.",
        tuple((name, slo.started) for name, slo in slos),
        "queue",
    )
    yield Family(
        "jobd_queue_started_late_total",
        _COUNTER,
        "Those of them that started later than that.",
        tuple((name, slo.late) for name, slo in slos),
        "queue",
    )


def _workers(processes: list[Process]) -> Iterator[Family]:
    yield _one("jobd_processes", _GAUGE, "Worker processes.", len(processes))
    yield _one(
        "jobd_processes_stopping",
        _GAUGE,
        "Those that take no more jobs.",
        sum(process.stopping for process in processes),
    )
    yield _one(
        "jobd_threads",
        _GAUGE,
        "Threads that run jobs.",
        sum(process.concurrency - process.coroutines for process in processes),
    )
    yield _one(
        "jobd_coroutines",
        _GAUGE,
        "Async jobs that may run at the same time, beside those in threads.",
        sum(process.coroutines for process in processes),
    )
    yield _one(
        "jobd_loop_lag_seconds",
        _GAUGE,
        "Longest time in which the event loop of a worker did not respond, in ten seconds.",
        max((process.loop_lag_us / 1e6 for process in processes), default=0.0),
    )
    yield _one(
        "jobd_threads_busy",
        _GAUGE,
        "Jobs that run, coroutines too.",
        sum(one.busy for one in processes),
    )
    yield _one(
        "jobd_processes_resident_bytes",
        _GAUGE,
        "Memory of the worker processes.",
        1024 * sum(one.rss for one in processes),
    )


def _server(info: RedisInfo) -> Iterator[Family]:
    yield _one("jobd_redis_latency_seconds", _GAUGE, "Of a round trip to Redis.", info.latency)
    yield _one("jobd_redis_memory_bytes", _GAUGE, "Memory that Redis uses.", info.used_memory)
    told = "What it may use; 0 is no limit."
    yield _one("jobd_redis_memory_max_bytes", _GAUGE, told, info.max_memory)
    yield _one("jobd_redis_warnings", _GAUGE, "What about it endangers jobs.", len(info.warnings))
