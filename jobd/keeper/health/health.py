"""What the health listener answers: whether this daemon lives, whether it takes jobs, the metrics,
and how many workers are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

import redis

from jobd.api.entry import Api
from jobd.api.shared import prometheus
from jobd.api.shared.figures import Figures
from jobd.errors import JobdError
from jobd.keeper.health.http import Answer
from jobd.keeper.health.listener import Listener
from jobd.keeper.health.scale import Scale
from jobd.runtime.ipc.messages import Serving
from jobd.runtime.ipc.scoreboard import MAIN_BEAT, Page
from jobd.settings import listening
from jobd.settings.daemon import Config
from jobd.store.loops import Loop
from jobd.text.counting import counted

STUCK = 120.0
"""Seconds that a turn of a loop may take. One that waits for Redis takes some five a command."""

MASTER_SILENT = 60.0
"""Seconds without a word of the master, who speaks every five, after which it counts as stuck."""

UNSURE = 20.0
"""Seconds for which counts what it has said about the workers."""


class Health:
    """The answers, and the listener.

    Args:
        loops: those of the keeper that must turn.
        page: the keeper's, on which its main thread beats.
        on_listener: called with why the listener is not open, when that changes; "" if it is.
    """

    def __init__(
        self,
        config: Config,
        client: redis.Redis,
        loops: Iterable[Loop],
        page: Page,
        on_listener: Callable[[str], None],
    ) -> None:
        self._loops = tuple(loops)
        self._page = page
        self._heard = time.monotonic()
        self._serving = Serving(0, "it has just started", 0, 0)
        self._figures = Figures(Api(client, config.prefix))
        self._scale = Scale(self._figures, config)
        self._listener = Listener(
            listening.read(config.health),
            {"/healthz": self.healthz, "/readyz": self.readyz},
            {"/metrics": self._metrics, "/scale": self._wanted},
            on_listener,
        )

    def start(self) -> None:
        """Start the threads."""
        self._scale.start()
        self._listener.start()

    def close(self) -> None:
        """The process is about to exit."""
        self._listener.close()

    def heard(self, message: Serving) -> None:
        """The master has told what its workers do. Called by the main thread."""
        self._serving = message
        self._heard = time.monotonic()
        self._scale.heard(message)

    def healthz(self) -> Answer:
        """Whether the loops turn, here and in the master: also while Redis is away, for a restart
        would not help."""
        now = time.monotonic()
        found = [
            f"{loop.name} has not turned for {loop.silent(now):.0f} seconds"
            if loop.is_alive()
            else f"{loop.name} has ended"
            for loop in self._loops
            if loop.silent(now) > STUCK or not loop.is_alive()
        ]
        if (age := self._page.age(MAIN_BEAT)) > STUCK:
            found.append(f"the main thread has not turned for {age:.0f} seconds")
        if (silence := now - self._heard) > MASTER_SILENT:
            found.append(f"the master has said nothing for {silence:.0f} seconds")
        if found:
            return Answer.of(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(found))
        return Answer.of(HTTPStatus.OK, "ok")

    def readyz(self) -> Answer:
        """Whether workers of this daemon have claimed or waited lately."""
        told, silence = self._serving, time.monotonic() - self._heard
        if silence > UNSURE:
            text = f"the master has said nothing for {silence:.0f} seconds"
            return Answer.of(HTTPStatus.SERVICE_UNAVAILABLE, text)
        if not told.workers:
            return Answer.of(HTTPStatus.SERVICE_UNAVAILABLE, told.why)
        some = counted(told.workers, "worker takes jobs", "workers take jobs")
        return Answer.of(HTTPStatus.OK, f"ok: {some}")

    def _metrics(self) -> Answer:
        return _asked(prometheus.CONTENT_TYPE, lambda: prometheus.text(self._figures))

    def _wanted(self) -> Answer:
        return _asked("application/json", lambda: self._scale.answer().json())


def _asked(kind: str, make: Callable[[], str]) -> Answer:
    try:
        return Answer(HTTPStatus.OK, make(), kind)
    except JobdError as error:
        return Answer.of(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
