"""Connections that grow too old while a thread waits for its next job; the rest needs a daemon."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from tests.unit.contrib.django_site import database

from django.db import connection  # isort: skip

from jobd.contrib.django.connections import Connections

__all__ = ["database"]


def run(call_next: Any) -> None:
    Connections()(cast("Any", None), {}, "default", call_next)


@pytest.mark.parametrize(("age", "is_kept"), [(-1.0, False), (60.0, True)])
def test_one_that_is_too_old_is_closed_before_the_job(
    database: None, age: float, is_kept: bool
) -> None:
    connection.ensure_connection()
    before = connection.connection
    connection.close_at = time.monotonic() + age
    seen: list[object] = []
    run(lambda: seen.append(connection.connection))
    assert seen == [before if is_kept else None]
    connection.close_at = None
