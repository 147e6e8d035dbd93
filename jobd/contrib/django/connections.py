"""Server middleware: database connections are cared for around jobs as Django does around requests.

A job that runs in this process inside another one (``perform_inline``) is left alone: closing the
connection would end the transaction around it.
"""

from __future__ import annotations

import threading
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections, reset_queries

from jobd.contrib.django.carried import restore_again
from jobd.jobs.context import CurrentJob
from jobd.jobs.middleware import AsyncNext, Next
from jobd.wire.payload import Payload

_running = threading.local()


class Connections:
    """Closes connections that are broken or older than ``CONN_MAX_AGE``, before and after a job.

    One that stays open is checked before the first query of the next job, so that a restart of the
    database between two jobs costs none of them.

    Each async job has a thread of its own for its queries, and its connections are closed with it:
    otherwise all async jobs of a worker would share one.
    """

    def __call__(self, _job: CurrentJob, _payload: object, _queue: str, call_next: Next) -> object:
        if getattr(_running, "job", False):
            return call_next()
        _running.job = True
        try:
            reset_queries()
            close_old_connections()
            _check_what_stays()
            return call_next()
        finally:
            _running.job = False
            close_old_connections()

    async def acall(
        self,
        _job: CurrentJob,
        payload: Payload,
        _queue: str,
        call_next: AsyncNext,
    ) -> object:
        restore_again(payload)
        context = ThreadSensitiveContext()
        async with context:
            try:
                return await call_next()
            finally:
                if context in SyncToAsync.context_to_thread_executor:  # it has made queries
                    await sync_to_async(connections.close_all)()


def _check_what_stays() -> None:
    connection: Any
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            connection.health_check_enabled = True
            connection.health_check_done = False
