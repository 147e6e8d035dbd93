"""The language and the time zone of a push in its job."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from contextvars import Context
from datetime import timedelta
from datetime import timezone as fixed
from typing import Any

import pytest

from tests.unit.contrib.django_site import database

from django.utils import timezone, translation  # isort: skip

from jobd import App
from jobd.contrib.django import carried
from jobd.jobs.propagation import propagation
from jobd.wire import attachments

__all__ = ["database"]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    propagation.reset()
    carried.carry()
    yield
    propagation.reset()


def context() -> dict[str, Any] | None:
    """What travels with a push that is made now."""
    item = {"class": "A", "args": [], "jid": "new", "queue": "q"}
    ready = App().client.prepare(item, None, None)
    assert ready is not None
    return attachments.read(ready[0].get("jobd")).context


def state() -> tuple[str | None, timedelta | None]:
    return translation.get_language(), timezone.localtime().utcoffset()


def test_only_what_differs_from_the_settings_travels() -> None:
    assert context() is None
    with translation.override("de"):
        assert context() == {"django.language": "de"}
    with translation.override("en"), timezone.override("Asia/Tokyo"):
        assert context() == {"django.timezone": "Asia/Tokyo"}
    with timezone.override(fixed(timedelta(minutes=-90))):
        assert context() == {"django.timezone": -90}
    with timezone.override("Europe/Berlin"):
        assert context() is None


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("Asia/Tokyo", timedelta(hours=9)), (-90, timedelta(minutes=-90)), (0, timedelta())],
)
def test_both_are_set_for_the_job_and_nothing_else(zone: object, offset: timedelta) -> None:
    before = state()
    values = {"django.language": "de", "django.timezone": zone}

    def start() -> tuple[str | None, timedelta | None]:
        assert propagation.restore(values) == []
        return state()

    def again() -> tuple[str | None, timedelta | None]:
        carried.restore_again({"jobd": {"context": values}})
        return state()

    assert Context().run(start) == Context().run(again) == ("de", offset)
    assert state() == before


@pytest.mark.parametrize(
    "values",
    [
        {"django.language": "xx", "django.timezone": "Mars/Olympus"},
        {"django.language": "../../etc", "django.timezone": "../../etc/passwd"},
        {"django.language": 7, "django.timezone": {}},
        {"django.language": None, "django.timezone": 10**9},
        {"django.language": "", "django.timezone": ""},
        {"django.language": "a" * 10_000, "django.timezone": True},
    ],
)
def test_values_that_nobody_knows_change_nothing(values: dict[str, Any]) -> None:
    def start() -> tuple[str | None, timedelta | None]:
        propagation.restore(values)
        carried.restore_again({"jobd": {"context": values}})
        return state()

    assert Context().run(start) == Context().run(state)


@pytest.mark.parametrize("payload", [{}, {"jobd": 1}, {"jobd": {"context": []}}])
def test_a_payload_without_them_changes_nothing(payload: dict[str, Any]) -> None:
    carried.restore_again(payload)
    assert context() is None
    assert zoneinfo.ZoneInfo("Europe/Berlin") is timezone.get_current_timezone()
