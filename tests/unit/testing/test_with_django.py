"""Test modes beside Django: its TestCase, the connections of its threads, pushes on commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import environment
from tests.unit.project.test_docs import DOCS, files_of

SHOP = """
from functools import partial
from django.contrib.auth.models import Group
from django.db import transaction
from jobd import job

@job(name="shop.welcome")
def welcome(pk):
    group = Group.objects.get(pk=pk)
    group.name += "!"
    group.save()

@job(name="shop.awelcome")
async def awelcome(pk):
    group = await Group.objects.aget(pk=pk)
    group.name += "?"
    await group.asave()

def sign_up(job=welcome):
    with transaction.atomic():
        group = Group.objects.create(name="staff")
        transaction.on_commit(partial(job.perform_async, group.pk))
    return group

async def view(request):
    from django.http import HttpResponse
    group = await Group.objects.acreate(name="staff")
    await welcome.aperform_async(group.pk)
    await awelcome.aperform_async(group.pk)
    await group.arefresh_from_db()
    return HttpResponse(group.name)
"""

TESTS = """
from django.contrib.auth.models import Group
from django.test import TestCase
from jobd.testing import JobdTestMixin, fake, inline
from shop import awelcome, sign_up, welcome

class Collected(JobdTestMixin, TestCase):
    def test_a_push_on_commit_comes_with_the_commit(self):
        with self.captureOnCommitCallbacks() as callbacks:
            group = sign_up()
        self.assertEqual(len(callbacks), 1)
        self.jobs.assert_not_pushed(welcome)
        group.delete()
        with self.captureOnCommitCallbacks(execute=True):
            group = sign_up()
        self.jobs.assert_pushed(welcome, group.pk, times=1)
        self.jobs.drain()
        group.refresh_from_db()
        self.assertEqual(group.name, "staff!")

    def test_an_async_job_sees_the_transaction_of_the_test(self):
        with self.captureOnCommitCallbacks(execute=True):
            group = sign_up(awelcome)
        self.jobs.drain()
        group.refresh_from_db()
        self.assertEqual(group.name, "staff?")

    async def test_in_an_async_test(self):
        group = await Group.objects.acreate(name="staff")
        await welcome.aperform_async(group.pk)
        await awelcome.aperform_async(group.pk)
        await self.jobs.adrain()
        await group.arefresh_from_db()
        self.assertEqual(group.name, "staff!?")

class Inline(JobdTestMixin, TestCase):
    jobd_mode = "inline"

    def test_in_the_transaction_of_the_test(self):
        with self.captureOnCommitCallbacks(execute=True):
            group = sign_up()
        awelcome.perform_async(group.pk)
        group.refresh_from_db()
        self.assertEqual(group.name, "staff!?")

    def test_from_a_view(self):
        self.assertEqual(self.client.get("/").content, b"staff!?")

    async def test_from_an_async_view(self):
        response = await self.async_client.get("/")
        self.assertEqual(response.content, b"staff!?")
"""

URLS = """
from django.urls import path
from shop import view

urlpatterns = [path("", view)]
"""

RUN = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"], USE_TZ=True,
)
django.setup()
from django.test.utils import get_runner
sys.exit(get_runner(settings)(verbosity=2).run_tests([sys.argv[1]]))
"""


@pytest.fixture(autouse=True)
def needs_django() -> None:
    pytest.importorskip("django")


def run(directory: Path, label: str) -> str:
    (directory / "run.py").write_text(RUN)
    done = subprocess.run(
        [sys.executable, "run.py", label],
        cwd=directory,
        env=environment({"JOBD_REDIS": "redis://127.0.0.1:1/0"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_the_tests_of_a_django_project_pass(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TESTS)
    (tmp_path / "urls.py").write_text(URLS)
    assert "Ran 6 tests" in run(tmp_path, "test_shop")


def test_that_of_the_manual_passes(tmp_path: Path) -> None:
    files = files_of(DOCS / "testing.md")
    (tmp_path / "urls.py").write_text("urlpatterns = []\n")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/jobs.py").write_text(files["shop.py"])
    (tmp_path / "shop/tests.py").write_text(files["shop/tests.py"])
    assert "Ran 1 test" in run(tmp_path, "shop.tests")
