"""Django for tests in this process: two databases in files, and none of our apps' settings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

_DIRECTORY = tempfile.TemporaryDirectory(prefix="jobd-django-")


def _database(name: str) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(Path(_DIRECTORY.name) / f"{name}.sqlite3"),
        "TEST": {"NAME": str(Path(_DIRECTORY.name) / f"{name}.sqlite3")},
    }


if not settings.configured:
    settings.configure(
        DATABASES={"default": _database("default"), "other": _database("other")},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        LANGUAGES=[("en", "English"), ("de", "German")],
        SECRET_KEY="of a test",
        USE_TZ=True,
        TIME_ZONE="Europe/Berlin",
    )
    django.setup()


@pytest.fixture
def database() -> Iterator[None]:
    """A table ``notes`` in both databases; no connection stays."""
    from django.db import connections

    for connection in connections.all():
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")
            cursor.execute("DELETE FROM notes")
    yield
    connections.close_all()
