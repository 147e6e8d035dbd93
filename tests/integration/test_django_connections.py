"""Database connections of jobs in a real daemon, with a real database."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis as redis_py

from jobd.settings.django_project import WORKER
from jobd.testing import EmbeddedServer
from tests.support.daemon import Daemon
from tests.support.django_shop import Shop
from tests.support.postgres import USER, Postgres

pytest.importorskip("django", minversion="5.2")

JOBS = """
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.utils import timezone, translation
from jobd import job
from orders.models import Order

def note(text):
    with open("notes", "a") as file:
        file.write(f"{text}\\n")

def session():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]

@job
def plain():
    note(f"plain {session()}")

@job
def inner():
    note(f"inner {session()}")

@job
def outer():
    with transaction.atomic():
        before = session()
        Order.objects.create(email="a@b.c", item="tea")
        inner.perform_inline()
        assert session() == before and connection.in_atomic_block
    note(f"outer {before}")

@job
async def slow(number):
    import asyncio
    own = await sync_to_async(session)()
    for _ in range(200):  # until the others have begun
        note(f"slow {own}")
        with open("notes") as file:
            if len({line for line in file if line.startswith("slow")}) == 3:
                break
        await asyncio.sleep(0.05)
    assert await sync_to_async(session)() == own

@job(unique=True)
async def where():
    note(f"where {translation.get_language()} {timezone.get_current_timezone_name()}")

@job
def leaves_it_open():
    transaction.set_autocommit(False)
    Order.objects.create(email="x@y.z", item="never")
    note(f"open {session()}")
"""


@pytest.fixture
def shop(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, postgres: Postgres) -> Shop:
    variables = {
        "DATABASE_HOST": str(postgres.socket),
        "DATABASE_NAME": postgres.database(),
        "DATABASE_USER": USER,
    }
    shop = Shop(tmp_path, server.url, variables)
    shop.manage("migrate", "--verbosity", "0")
    (tmp_path / "orders/more.py").write_text(JOBS)
    with (tmp_path / "shop/settings.py").open("a") as file:
        file.write('\nJOBD["MODULES"] = ["orders.more"]\n')
    return shop


def notes(shop: Shop) -> list[list[str]]:
    file = shop.directory / "notes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def run(daemon: Daemon, shop: Shop, redis: redis_py.Redis, jobs: int, *flags: str) -> None:
    """Run what is pushed; each job succeeds at its first attempt."""
    daemon.run("-c", "1", *flags, require=WORKER, env=shop.variables)
    daemon.wait_ready(60)
    daemon.wait(lambda: int(redis.get("stat:processed") or 0) == jobs, 30, "all have ended")
    assert redis.get("stat:failed") is None, daemon.log()


def test_connections_are_kept_closed_and_left_alone(
    shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    shop.python(
        "from orders.more import *\n"
        "for each in (plain, outer, leaves_it_open, plain): each.perform_async()"
    )
    run(idle_daemon, shop, redis, 4)
    [plain, inner, outer, left, last] = notes(shop)
    assert plain[1] == inner[1] == outer[1] == left[1], "kept, as CONN_MAX_AGE says"
    assert last[1] != left[1], "what a job has left open is closed"
    stored = "from orders.models import Order\nprint([each.item for each in Order.objects.all()])"
    assert shop.python(stored) == "['tea']"
    assert idle_daemon.stop() == 0


def test_each_async_job_has_a_connection_of_its_own_which_is_closed(
    shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis, postgres: Postgres
) -> None:
    shop.python("from orders.more import slow\nfor n in range(3): slow.perform_async(n)")
    run(idle_daemon, shop, redis, 3)
    assert len({line[1] for line in notes(shop)}) == 3
    assert "async_jobs_need_threads" not in idle_daemon.log()
    open_now = shop.python(
        "from django.db import connection\n"
        "with connection.cursor() as c:\n"
        '    c.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = '
        'current_database() AND pid <> pg_backend_pid()")\n'
        "    print(c.fetchone()[0])"
    )
    assert open_now == "0"
    assert idle_daemon.stop() == 0


def test_language_and_time_zone_of_an_async_job_with_a_lock(
    shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    shop.python(
        "from django.utils import timezone, translation\n"
        "from orders.more import where\n"
        "with translation.override('de'), timezone.override('Asia/Tokyo'): where.perform_async()"
    )
    run(idle_daemon, shop, redis, 1)
    assert notes(shop) == [["where", "de", "Asia/Tokyo"]]
    assert idle_daemon.stop() == 0


def test_workers_share_no_connection_that_the_import_has_opened(
    shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    shop.python("from orders.more import plain\nfor n in range(20): plain.perform_async()")
    with (shop.directory / "orders/more.py").open("a") as file:
        file.write('note(f"imported {session()}")\n')
    run(idle_daemon, shop, redis, 20, "--preload", "-w", "2")
    found = notes(shop)
    imported = {number for what, number in found if what == "imported"}
    used = {number for what, number in found if what == "plain"}
    assert imported
    assert used
    assert not used & imported
    assert idle_daemon.stop() == 0
