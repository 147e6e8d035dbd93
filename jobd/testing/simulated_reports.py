"""What a world's worker shows to dashboards, once a job has reported its progress."""

from __future__ import annotations

from collections.abc import Callable

import redis

from jobd.jobs.context import CurrentJob
from jobd.settings.daemon import Config
from jobd.store.keys import Keys
from jobd.worker.heartbeat import Heartbeat
from jobd.worker.metrics import Metrics
from jobd.worker.progress import Progress
from jobd.worker.run.pool import Working


class Reports:
    """The heartbeat and the reports of a worker, written when it says so.

    Args:
        working: returns the running job.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        identity: str,
        config: Config,
        working: Callable[[], list[Working]],
    ) -> None:
        self._progress = Progress(client, keys, identity, working)
        self._heartbeat = Heartbeat(
            client,
            keys,
            identity,
            config,
            working,
            Metrics(),
            lambda: 0.0,
            lambda: 0,
            lambda _signal: None,
            lambda _sequences: True,
            lambda: None,
            lambda: None,
        )

    def add(self, job: CurrentJob) -> None:
        """Take over what *job* has reported."""
        self._progress.take(job)

    def write(self) -> None:
        """Write what is new, and forget what has ended."""
        self._heartbeat.turn()
        self._progress.turn()
