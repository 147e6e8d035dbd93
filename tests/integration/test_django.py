"""The manual's Django project: its files as they stand there, a real database, a real daemon."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd.settings.django_project import WORKER
from jobd.testing import EmbeddedServer
from tests.support.daemon import Daemon, environment

pytest.importorskip("django")

PAGE = Path(__file__).parents[2] / "docs/django.md"
FILES = dict(
    re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.M)
)

OWN = {
    "shop/__init__.py": "",
    "shop/settings.py": """
import os
SECRET_KEY = "of your application"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.messages", "django.contrib.sessions", "jobd.contrib.django", "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
JOBD = {"REDIS": os.environ["JOBD_REDIS"]}
""",
}

VISIT = """
import django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False)
paths = ("/sign-up/ada", "/sign-up/eve?fail", "/jobs/")
print([client.get(path).status_code for path in paths])
"""

LOOK = """
import django
django.setup()
from django.contrib.auth import get_user_model
print(list(get_user_model().objects.values_list("username", "first_name", "last_name")))
"""


class Project:
    """The files of the page, in the directory of a daemon."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.variables = {"JOBD_REDIS": url, "DJANGO_SETTINGS_MODULE": "shop.settings"}
        for name, source in {**OWN, **FILES}.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(source)
        self.run("-m", "django", "migrate", "--verbosity", "0")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *arguments],
            cwd=self.directory,
            env=environment(self.variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Project:
    return Project(tmp_path, server.url)


def test_the_project_of_the_page_works(
    project: Project, idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    assert "[200, 500, 302]" in project.run("-c", VISIT)
    assert redis.llen("queue:mail") == 1, "what was rolled back was pushed"
    idle_daemon.run("-q", "mail", require=WORKER, env=project.variables)
    idle_daemon.wait_ready()
    idle_daemon.wait(lambda: redis.get("stat:processed") == b"2", 20, "both jobs have ended")
    assert redis.get("stat:failed") is None
    assert "[('ada', 'remembered', 'welcomed')]" in project.run("-c", LOOK)
    [worker] = idle_daemon.workers()
    opened = [file.path for file in psutil.Process(worker).open_files()]
    assert not [path for path in opened if path.endswith(".sqlite")], "a connection has stayed"
    assert idle_daemon.stop() == 0


def test_the_tests_of_the_page_pass(project: Project) -> None:
    assert "Ran 2 tests" in project.run("-m", "django", "test")
