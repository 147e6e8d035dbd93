"""``/metrics`` for Prometheus. The numbers come from Redis at each scrape, so they are right
however many processes there are and however often they are replaced; this process has none of its
own.

Who asks needs the role viewer, as for everything that says something about jobs: give Prometheus a
token.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import Process, QueueSummary, RedisInfo, Stats
from jobd.api.roles import Role
from jobd.web.request import require, state_of
from jobd.web.shared.state import State

MOST_QUEUES = 1_000
LONGEST_NAME = 200
"""Queues with numbers of their own, the largest ones, and characters of their names; who makes more
would fill Prometheus."""

_FRESH = 5.0


def metrics(request: Request) -> Response:
    """Everything, in the text format."""
    require(request, Role.VIEWER)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(state_of(request)))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Collector(Collector):
    """Reads it; all of it or nothing."""

    def __init__(self, state: State) -> None:
        self._stats = state.stats()
        self._queues = state.queues()
        self._known = state.known_queues()
        self._processes = state.processes()
        self._info = state.snapshots.get("info", _FRESH, state.api.info)

    def collect(self) -> Iterable[Metric]:
        yield from _jobs(self._stats)
        yield from _queues(self._queues, self._known)
        yield from _workers(self._processes)
        yield from _server(self._info)


def _jobs(stats: Stats) -> Iterable[Metric]:
    yield CounterMetricFamily(
        "jobd_jobs_processed", "Executions that ended, failed ones too.", value=stats.processed
    )
    yield CounterMetricFamily("jobd_jobs_failed", "Executions that failed.", value=stats.failed)
    yield CounterMetricFamily(
        "jobd_jobs_expired", "Jobs that were too late to start.", value=stats.expired
    )
    yield CounterMetricFamily(
        "jobd_jobs_cancelled",
        "Jobs that were cancelled after a worker had claimed them.",
        value=stats.cancelled,
    )
    yield CounterMetricFamily(
        "jobd_jobs_duplicate", "Pushes of unique jobs that were refused.", value=stats.duplicates
    )
    jobs = GaugeMetricFamily("jobd_jobs", "Jobs by where they are.", labels=["state"])
    jobs.add_metric(["enqueued"], stats.enqueued)
    jobs.add_metric(["scheduled"], stats.scheduled_size)
    jobs.add_metric(["retry"], stats.retry_size)
    jobs.add_metric(["dead"], stats.dead_size)
    jobs.add_metric(["running"], stats.workers_size)
    jobs.add_metric(["in_flight"], stats.in_flight)
    yield jobs


def _queues(queues: list[QueueSummary], known: int) -> Iterable[Metric]:
    size = GaugeMetricFamily("jobd_queue_jobs", "Jobs that wait in a queue.", labels=["queue"])
    latency = GaugeMetricFamily(
        "jobd_queue_latency_seconds", "How long its oldest job has waited.", labels=["queue"]
    )
    paused = GaugeMetricFamily(
        "jobd_queue_paused", "1 if no worker takes jobs from it.", labels=["queue"]
    )
    named = [queue for queue in queues if len(queue.name) <= LONGEST_NAME]
    for queue in sorted(named, key=lambda queue: -queue.size)[:MOST_QUEUES]:
        size.add_metric([queue.name], queue.size)
        latency.add_metric([queue.name], queue.latency)
        paused.add_metric([queue.name], queue.paused)
    yield from (size, latency, paused)
    yield GaugeMetricFamily("jobd_queues", "Known queues.", value=known)


def _workers(processes: list[Process]) -> Iterable[Metric]:
    yield GaugeMetricFamily("jobd_processes", "Worker processes.", value=len(processes))
    yield GaugeMetricFamily(
        "jobd_processes_stopping",
        "Those that take no more jobs.",
        value=sum(process.stopping for process in processes),
    )
    yield GaugeMetricFamily(
        "jobd_threads",
        "Threads that run jobs.",
        value=sum(process.concurrency - process.coroutines for process in processes),
    )
    yield GaugeMetricFamily(
        "jobd_coroutines",
        "Async jobs that may run at the same time, beside those in threads.",
        value=sum(process.coroutines for process in processes),
    )
    yield GaugeMetricFamily(
        "jobd_loop_lag_seconds",
        "Longest time in which the event loop of a worker did not respond, in ten seconds.",
        value=max((process.loop_lag_us / 1e6 for process in processes), default=0.0),
    )
    yield GaugeMetricFamily(
        "jobd_threads_busy",
        "Jobs that run, coroutines too.",
        value=sum(one.busy for one in processes),
    )
    yield GaugeMetricFamily(
        "jobd_processes_resident_bytes",
        "Memory of the worker processes.",
        value=1024 * sum(one.rss for one in processes),
    )


def _server(info: RedisInfo) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "jobd_redis_latency_seconds", "Of a round trip to Redis.", value=info.latency
    )
    yield GaugeMetricFamily(
        "jobd_redis_memory_bytes", "Memory that Redis uses.", value=info.used_memory
    )
    yield GaugeMetricFamily(
        "jobd_redis_memory_max_bytes", "What it may use; 0 is no limit.", value=info.max_memory
    )
    yield GaugeMetricFamily(
        "jobd_redis_warnings", "What about it endangers jobs.", value=len(info.warnings)
    )


routes = [Route("/metrics", metrics, name="prometheus")]
