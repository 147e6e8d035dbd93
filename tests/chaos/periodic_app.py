"""The application of a whole chaos run: that of all others, and two jobs that nobody pushes."""

from __future__ import annotations

import time

from jobd import job
from tests.chaos import flow_app as flow_app  # its jobs belong to the application, too
from tests.chaos.app import note


@job(name="tick", every=2, catch_up="all", overlap="allow", queue="high")
def tick() -> None:
    note("b")
    note("e")


@job(name="tock", cron="*/3 * * * * *")
def tock() -> None:
    """None is pushed while an earlier one lives."""
    note("b")
    time.sleep(0.5)
    note("e")
