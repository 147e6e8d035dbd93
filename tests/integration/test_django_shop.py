"""The example of Django, driven over HTTP: web server, daemon, admin, dashboard, PostgreSQL."""

from __future__ import annotations

import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import redis as redis_py

from jobd.errors import Exit
from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import Daemon, environment
from tests.support.django_shop import SETTINGS, Shop
from tests.support.others import NOBODY, Nobody
from tests.support.postgres import USER, Postgres
from tests.web.frame import token_of as form_token
from tests.web.test_mounting import assert_all_below

pytest.importorskip("django", minversion="5.2")

QUEUES = ("-q", "mail", "-q", "default")

STAFF = """
from django.contrib.auth.models import Permission, User
User.objects.create_superuser("ada", "ada@example.org", "secret")
for name, permissions in (("vera", ["view_jobs"]), ("nora", [])):
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
"""


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Path:
    """The database of the shop without orders; to migrate takes more than most of the tests."""
    directory = tmp_path_factory.mktemp("migrated")
    database = directory / "shop.sqlite3"
    Shop(directory, server.url, {"DATABASE": str(database)}).manage("migrate", "--verbosity", "0")
    return database


@pytest.fixture
def shop(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, migrated: Path) -> Shop:
    database = shutil.copy(migrated, tmp_path / "shop.sqlite3")
    return Shop(tmp_path, server.url, {"DATABASE": str(database)})


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30, headers={"Accept-Language": "de"}) as client:
        yield client


def order(client: httpx2.Client, url: str, email: str, item: str = "tea") -> Any:
    """Fill in the form of the shop."""
    page = client.get(url).text
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    form = {"csrfmiddlewaretoken": token, "email": email, "item": item}
    return client.post(f"{url}/orders/", data=form, headers={"Referer": url})


def log_in(client: httpx2.Client, url: str, name: str) -> None:
    client.cookies.clear()
    page = client.get(f"{url}/admin/login/").text
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    form = {"csrfmiddlewaretoken": token, "username": name, "password": "secret", "next": "/admin/"}
    answer = client.post(f"{url}/admin/login/", data=form, headers={"Referer": url})
    assert answer.status_code == 302, answer.text


def start(daemon: Daemon, shop: Shop, *flags: str) -> Daemon:
    """``manage.py jobd run``: becomes the daemon by exec."""
    command = [*(sys.executable, "-W", "ignore", "manage.py"), *daemon.command("jobd")[3:4], "run"]
    with daemon.output.open("ab") as output:
        daemon._process = spawn(
            [*command, *daemon.command("run")[4:], *QUEUES, *flags],
            output=output,
            directory=shop.directory,
            environment=environment(shop.variables),
        )
    daemon._master = psutil.Process(daemon._process.pid)
    return daemon.wait_ready(60)


def processed(daemon: Daemon, redis: redis_py.Redis, number: int) -> None:
    daemon.wait(lambda: int(redis.get("stat:processed") or 0) >= number, 30, f"{number} processed")


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_an_order_gets_its_receipt(
    kind: str, shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis, client: httpx2.Client
) -> None:
    with shop.serving(kind) as url:
        assert order(client, url, "ada@example.org").status_code == 302
        refused = order(client, url, "nobody")
        assert (refused.status_code, refused.text) == (400, "an order needs an address and an item")
        assert redis.llen("queue:mail") == 1, "what was rolled back was pushed"
        start(idle_daemon, shop)
        processed(idle_daemon, redis, 2)
        page = client.get(url).text
    assert "tea for ada@example.org: tea, " in page
    assert "(de)" in page, "the language of the request is not that of the job"
    assert "nobody" not in page
    assert redis.get("stat:failed") is None
    # The master has not imported the project, and obeys signals as jobd does.
    command = psutil.Process(idle_daemon.pid).cmdline()
    assert "manage.py" not in command
    maps = Path(f"/proc/{idle_daemon.pid}/maps").read_text()
    assert "_sqlite3" not in maps, "the master has imported Django"
    assert idle_daemon.jobctl("reload", "--wait").returncode == 0
    assert idle_daemon.stop() == 0


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_the_dashboard_is_behind_the_permissions_of_the_admin(
    kind: str, shop: Shop, redis: redis_py.Redis, client: httpx2.Client
) -> None:
    shop.python(STAFF)
    with shop.serving(kind) as url:
        order(client, url, "ada@example.org")
        jobs = f"{url}/jobs/"
        asked = client.get(f"{jobs}queues")
        assert asked.status_code == 302
        assert asked.headers["location"] == "/admin/login/?next=/jobs/queues"
        asked = client.post(f"{jobs}queues/pause?name=mail")
        assert asked.headers["location"] == "/admin/login/?next=/jobs/", "no page is there"

        log_in(client, url, "nora")
        assert client.get(jobs).status_code == 403
        assert "/admin/jobd/" not in client.get(f"{url}/admin/").text

        log_in(client, url, "vera")
        assert "/admin/jobd/dashboard/" in client.get(f"{url}/admin/").text
        link = client.get(f"{url}/admin/jobd/dashboard/")
        assert (link.status_code, link.headers["location"]) == (302, "/jobs/")
        page = client.get(jobs)
        assert page.status_code == 200
        assert "vera · " in page.text
        assert_all_below(page.text, "/jobs/", Below(client, url))
        body = {"queue": "mail"}
        pause = f"{jobs}api/v1/queues/pause"
        assert 'name="csrf"' not in page.text, "a viewer is offered a change"
        assert client.post(pause, json=body).status_code == 403

        log_in(client, url, "ada")
        page = client.get(f"{jobs}queue?name=mail")
        assert "orders.jobs.write_receipt" in page.text
        done = client.post(pause, json=body, headers={"X-CSRF-Token": form_token(page)})
        assert done.json()["changed"] == 1
        assert client.post(pause, json=body).status_code == 403, "without a token of a form"
        elsewhere = {"X-CSRF-Token": form_token(page), "Origin": "http://evil.example"}
        assert client.post(pause, json=body, headers=elsewhere).status_code == 403
        assert client.get(jobs, headers={"Host": "evil.example"}).status_code == 400
        assert redis.smembers("paused") == {b"mail"}
        assert client.get(f"{jobs}nowhere/at%20all").status_code == 404
        assert client.get(f"{jobs}live").status_code == 204  # pages poll


class Below:
    """A client for addresses without a host."""

    def __init__(self, client: httpx2.Client, url: str) -> None:
        self.client, self.url = client, url

    def get(self, address: str) -> Any:
        return self.client.get(self.url + address)


FORKED = """
import os, signal
from django.contrib.auth.models import User
from django.test import RequestFactory
from jobd.contrib.django.views import dashboard

def asked():
    request = RequestFactory().get("/jobs/queues", headers={"host": "localhost"})
    request.user = User(username="ada", is_superuser=True)
    return dashboard(request, "queues").status_code

print(asked(), flush=True)
if not (pid := os.fork()):
    signal.alarm(60)
    print(asked(), flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_forked_server_has_a_dashboard_of_its_own(shop: Shop) -> None:
    """It waited for the thread of the process before it."""
    assert shop.python(FORKED).split() == ["200", "200"]


def test_commands_of_manage_are_those_of_jobd(shop: Shop) -> None:
    done = shop.run("manage.py", "jobd", "check", "-q", "mail", "-q", "default")
    assert done.returncode == 0, done.stderr
    assert "registers 2 jobs" in done.stdout
    assert "orders.jobs.write_receipt (queue mail)" in done.stdout
    assert "$REDIS_URL" in done.stdout
    assert shop.run("manage.py", "jobd", "rnu").returncode == Exit.USAGE
    assert shop.run("manage.py", "jobd").returncode == Exit.USAGE
    helped = shop.run("manage.py", "jobd", "--settings=shop.settings", "run", "--help")
    assert helped.returncode == 0
    assert "--concurrency" in helped.stdout
    called = shop.python(
        "from django.core.management import call_command\ncall_command('jobd', 'version')"
    )
    assert called.startswith("jobd ")
    assert "No changes detected" in shop.manage("makemigrations")
    assert "no issues" in shop.manage("check")


def test_interrupts_end_the_daemon_as_they_end_jobd(
    shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    start(idle_daemon, shop, "--redis", shop.variables["REDIS_URL"])
    idle_daemon.signal(signal.SIGINT)
    assert idle_daemon.wait_ended() == 0


# -- a real database -------------------------------------------------------------------------------


@pytest.fixture
def with_postgres(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, postgres: Postgres
) -> Shop:
    variables = {
        "DATABASE_HOST": str(postgres.socket),
        "DATABASE_NAME": postgres.database(),
        "DATABASE_USER": USER,
    }
    shop = Shop(tmp_path, server.url, variables)
    shop.manage("migrate", "--verbosity", "0")
    return shop


def test_a_restart_of_the_database_between_two_jobs_costs_none(
    with_postgres: Shop,
    postgres: Postgres,
    idle_daemon: Daemon,
    redis: redis_py.Redis,
    client: httpx2.Client,
) -> None:
    """Its connections are kept for ten minutes, and not checked, by the settings."""
    shop = with_postgres
    start(idle_daemon, shop, "-c", "1")
    with shop.serving("wsgi") as url:
        assert order(client, url, "ada@example.org").status_code == 302
        processed(idle_daemon, redis, 2)
    postgres.restart()
    with shop.serving("wsgi") as url:
        assert order(client, url, "grace@example.org").status_code == 302
        processed(idle_daemon, redis, 4)
        page = client.get(url).text
    assert "tea for grace@example.org: tea, " in page
    assert redis.get("stat:failed") is None
    assert redis.zcard("retry") == 0
    assert idle_daemon.stop() == 0


def test_the_tests_of_the_example_pass(shop: Shop) -> None:
    done = shop.run("manage.py", "test")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Ran 3 tests", done.stderr)


# -- projects that cannot be loaded ----------------------------------------------------------------


def run(shop: Shop, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return shop.run("-m", "jobd", *arguments, **variables)


@pytest.mark.parametrize("command", ["run", "start", "check"])
def test_settings_that_cannot_be_imported(shop: Shop, command: str) -> None:
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write("\nimport nowhere\n")
    done = run(shop, command)
    assert done.returncode == Exit.NO_APPLICATION
    assert "Traceback" not in done.stderr
    said = " ".join(done.stderr.split())
    assert "the settings of the Django project, shop.settings (from " in said
    assert "manage.py), cannot be imported: ModuleNotFoundError: No module named 'nowhere'" in said
    assert "shop/settings.py, line " in said


def test_a_settings_module_that_does_not_exist(shop: Shop) -> None:
    done = run(shop, "run", DJANGO_SETTINGS_MODULE="shop.production")
    assert done.returncode == Exit.NO_APPLICATION
    said = " ".join(done.stderr.split())
    assert "shop.production (from $DJANGO_SETTINGS_MODULE), cannot be imported: " in said
    assert "No module named 'shop.production'" in said


def test_a_project_without_our_app(shop: Shop) -> None:
    file = shop.directory / "shop/settings.py"
    file.write_text(file.read_text().replace('    "jobd.contrib.django",\n', ""))
    done = run(shop, "run")
    assert done.returncode == Exit.NO_APPLICATION
    assert 'add "jobd.contrib.django" to INSTALLED_APPS' in " ".join(done.stderr.split())


def test_a_manage_py_that_names_no_settings(shop: Shop) -> None:
    (shop.directory / "manage.py").write_text("from django.core import management\n")
    done = run(shop, "check")
    assert done.returncode == Exit.NO_APPLICATION
    assert "manage.py does not name the settings module" in " ".join(done.stderr.split())


def test_a_module_that_is_named_without_the_project(shop: Shop) -> None:
    done = run(shop, "check", "-r", "orders.jobs")
    assert done.returncode == Exit.NO_APPLICATION
    said = " ".join(done.stderr.split())
    assert "Django is not set up: leave out -r in the directory of manage.py" in said
    (shop.directory / "orders/late.py").write_text(
        "from django.contrib.auth import get_user_model\nfrom jobd import job\n"
        "@job\ndef late(): get_user_model()\n"
    )
    done = run(shop, "check", "-r", "orders.late")
    assert done.returncode == Exit.NO_APPLICATION, "it can be imported, but its job would fail"
    assert "orders.late: Django is not set up: leave out -r in the" in " ".join(done.stderr.split())
    for also in ("jobd.contrib.django.worker:app", "orders.jobs"):
        shop.variables.setdefault("JOBD_REQUIRE", "")
        shop.variables["JOBD_REQUIRE"] += f" {also}"
    done = run(shop, "check", "-q", "mail", "-q", "default")
    assert "registers 2 jobs" in done.stdout, done.stderr


def test_options_that_are_wrong(shop: Shop) -> None:
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write('\nJOBD = {"ON_COMIT": True, "CARRY": "no", "DATABASE": "archive"}\n')
    done = shop.run("manage.py", "check")
    assert done.returncode == 1
    assert "(jobd.E002) JOBD has no option 'ON_COMIT'" in done.stderr
    assert "HINT: use ON_COMMIT" in done.stderr
    assert "(jobd.E003) JOBD['CARRY'] must be True or False" in done.stderr
    assert "(jobd.E004) JOBD['DATABASE'] is 'archive', which is not in DATABASES" in done.stderr
    done = run(shop, "check")
    assert done.returncode == Exit.NO_APPLICATION
    assert "JOBD has no option 'ON_COMIT'" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('{"REDS": "x"}', "JOBD has no option 'REDS' (use REDIS)"),
        ('{"APP": "orders.jobs:x"}', "JOBD['APP'] is 'orders.jobs:x', but x is not a jobd.App"),
        ('{"APP": "shop.no:app"}', "but shop.no cannot be imported: No module named 'shop.no'"),
    ],
)
def test_a_web_server_that_checks_nothing_pushes_nothing_with_wrong_options(
    shop: Shop, options: str, said: str
) -> None:
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write(f"\nJOBD = {options}\n")
    push = "from orders.jobs import write_receipt; write_receipt.perform_async(1)"
    done = shop.run("-c", f"import django; django.setup(); {push}", **SETTINGS)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "ImproperlyConfigured: nothing is pushed with these settings: " in last
    assert said in last


def test_modules_that_do_not_exist(shop: Shop) -> None:
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write('\nJOBD = {"MODULES": ["shop.urls", "shop.more", "more.jobs"]}\n')
    done = shop.run("manage.py", "check")
    for name in ("shop.more", "more.jobs"):
        assert f"(jobd.E006) JOBD['MODULES'] names '{name}', which cannot be found" in done.stderr
    assert "shop.urls" not in done.stderr
    done = run(shop, "check")
    assert done.returncode == Exit.NO_APPLICATION
    assert "names 'shop.more', which cannot be found" in " ".join(done.stderr.split())


def test_two_apps_with_one_name_of_a_job(shop: Shop) -> None:
    code = "from jobd import job\n@job(name='welcome')\ndef welcome(): ...\n"
    for app in ("blog", "news"):
        (shop.directory / app).mkdir()
        (shop.directory / app / "__init__.py").touch()
        (shop.directory / app / "jobs.py").write_text(code)
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write('\nINSTALLED_APPS += ["blog", "news"]\n')
    done = run(shop, "check")
    assert done.returncode == Exit.NO_APPLICATION
    said = " ".join(done.stderr.split())
    assert "the jobs in news.jobs cannot be imported: ArgumentError: two jobs have the name" in said
    assert "blog.jobs.welcome and news.jobs.welcome; give one of them another name" in said


def test_root_imports_no_settings_as_root(
    open_directory: Path, nobody: Nobody, server: EmbeddedServer
) -> None:
    project = Shop(open_directory, server.url)
    (open_directory / "shop/settings.py").write_text(
        "import os\nraise RuntimeError(os.geteuid(), os.getgroups())\n"
    )
    done = run(project, "check", "--user", pwd.getpwuid(NOBODY).pw_name)
    assert f"RuntimeError: ({NOBODY}, [{NOBODY}])" in " ".join(done.stderr.split())


def test_the_settings_say_where_redis_is(shop: Shop, server: EmbeddedServer) -> None:
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write(f'\nJOBD = {{"REDIS": {server.url!r}, "PREFIX": "shop:"}}\n')
    del shop.variables["REDIS_URL"]
    done = run(shop, "check", "-q", "mail", "-q", "default")
    assert done.returncode == 0, done.stderr
    assert f"{server.url} (the Django project)" in done.stdout
    assert re.search(r"prefix +shop: +\(the Django project\)", done.stdout)
    assert "warning" not in re.sub("warning: cannot create the pidfile.*", "", done.stderr)


def test_getting_ready_opens_nothing(shop: Shop) -> None:
    said = shop.python(
        """
import os, threading
from django.db import connections
print(threading.active_count(), len(os.listdir("/proc/self/task")))
print([c.connection for c in connections.all(initialized_only=True) if c.connection])
print([f for f in (os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
    if os.path.exists(f"/proc/self/fd/{n}")) if f.startswith("socket")])
"""
    )
    assert said.splitlines() == ["1 1", "[]", "[]"]
