"""``django.tasks`` with jobd: Django's own tests, and tasks in a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.errors import Exit
from jobd.testing import EmbeddedServer
from tests.support.daemon import Daemon, environment
from tests.support.django_shop import Shop

django = pytest.importorskip("django", minversion="6.0", reason="django.tasks needs Django 6")

TASKS = """
from django.tasks import task
from django.db import transaction

@task
def add(a, b):
    return a + b

@task(takes_context=True)
def attempt(context, times):
    if context.attempt < times:
        raise ValueError(f"attempt {context.attempt}")
    return [context.attempt, context.task_result.id]

@task(queue_name="mail")
async def greet(name):
    return f"hello {name}"

@task
def fail():
    raise LookupError("always")
"""

SETTINGS = """
TASKS = {
    "default": {
        "BACKEND": "jobd.contrib.django.tasks.JobdBackend",
        "QUEUES": [],
        "OPTIONS": {"RETRY": 1, "PRIORITY_QUEUES": {"urgent": (50, 100)}},
    },
    "plain": {"BACKEND": "jobd.contrib.django.tasks.JobdBackend", "OPTIONS": {"ON_COMMIT": False}},
}
"""

DESCRIBE = """
import json, sys
from django.tasks import default_task_backend as backend
import orders.tasks
def described(result):
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return [result.status, value, result.attempts, len(result.errors), result.task.name]
"""


@pytest.fixture
def shop(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Shop:
    shop = Shop(tmp_path, server.url, {"DATABASE": str(tmp_path / "shop.sqlite3")})
    (tmp_path / "orders/tasks.py").write_text(TASKS)
    with (tmp_path / "shop/settings.py").open("a") as file:
        file.write(SETTINGS)
    return shop


def said(shop: Shop, code: str) -> Any:
    """What *code* prints, as JSON."""
    return json.loads(shop.python(f"{DESCRIBE}\nfrom orders.tasks import *\n{code}"))


def test_djangos_own_tests_pass_with_our_variants(tmp_path: Path) -> None:
    download = ["pip", "download", "-q", "--no-deps", "--no-binary", "django"]
    done = subprocess.run(
        [sys.executable, "-m", *download, f"django=={django.__version__}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if not (found := sorted(tmp_path.glob("*.tar.gz"))):
        pytest.skip(f"the source of Django cannot be had: {done.stderr[-300:]}")
    with tarfile.open(found[0]) as archive:
        wanted = [one for one in archive.getmembers() if "/tests/tasks/" in one.name]
        archive.extractall(tmp_path, members=wanted, filter="data")
    [tests] = tmp_path.glob("*/tests")
    code = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["tasks"], USE_TZ=True, SECRET_KEY="of a test",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.tasks.backends import dummy, immediate
from jobd.contrib.django.tasks import FakeBackend, InlineBackend
immediate.ImmediateBackend, dummy.DummyBackend = InlineBackend, FakeBackend
from django.test.runner import DiscoverRunner
sys.exit(bool(DiscoverRunner().run_tests(["tasks"])))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tests,
        env=environment({"PYTHONPATH": f"{environment()['PYTHONPATH']}:{tests}"}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stderr
    assert int(done.stderr.partition("Ran ")[2].split()[0]) >= 70


def test_tasks_run_and_have_results(shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis) -> None:
    ids = said(
        shop,
        """
results = [add.enqueue(1, 2), attempt.enqueue(times=2), greet.enqueue("ada"), fail.enqueue()]
later = add.using(run_after=__import__("django").utils.timezone.now() +
    __import__("datetime").timedelta(hours=1)).enqueue(3, 4)
assert {r.status for r in [*results, later]} == {"READY"}
assert described(backend.get_result(later.id)) == ["READY", None, 0, 0, "add"]
assert backend.get_result(later.id).args == [3, 4]
print(json.dumps([r.id for r in [*results, later]]))
""",
    )
    waiting = {name: redis.llen(f"queue:{name}") for name in ("default", "mail")}
    assert waiting == {"default": 3, "mail": 1}
    assert redis.zcard("schedule") == 1
    idle_daemon.expect_in_log("attempt 1", "always")
    idle_daemon.run(
        "-q", "mail", "-q", "default", require="jobd.contrib.django.worker:app", env=shop.variables
    )
    idle_daemon.wait_ready(60)
    # The second attempts, without the wait.
    idle_daemon.wait(lambda: redis.zcard("retry") == 2, 20, "two have failed once")
    described = said(
        shop, f"print(json.dumps([described(backend.get_result(each)) for each in {ids}]))"
    )
    assert described == [
        ["SUCCESSFUL", 3, 1, 0, "add"],
        ["READY", None, 1, 1, "attempt"],
        ["SUCCESSFUL", "hello ada", 1, 0, "greet"],
        ["READY", None, 1, 1, "fail"],
        ["READY", None, 0, 0, "add"],
    ]
    for member, _ in redis.zscan_iter("retry"):
        redis.zadd("retry", {member: 1})
    idle_daemon.wait(lambda: redis.zcard("dead") == 1, 20, "one has failed for good")
    idle_daemon.wait(lambda: redis.get("stat:processed") == b"6", 20, "all have been tried")
    described = said(
        shop, f"print(json.dumps([described(backend.get_result(each)) for each in {ids}]))"
    )
    assert described[1] == ["SUCCESSFUL", [2, ids[1]], 2, 1, "attempt"]
    assert described[3] == ["FAILED", None, 2, 2, "fail"]
    path = said(
        shop, f"print(json.dumps(backend.get_result({ids[3]!r}).errors[0].exception_class_path))"
    )
    assert path == "builtins.LookupError"
    assert idle_daemon.stop() == 0


CUT = """
import redis
from jobd.jobs.app import default

def cut(times=1):
    \"\"\"So many of the next connections to Redis are lost.\"\"\"
    pool = default.client.redis.connection_pool
    asked, left = type(pool).get_connection, [times]
    def get_connection(*args, **kwargs):
        if left[0]:
            left[0] -= 1
            raise redis.ConnectionError("the connection was cut")
        return asked(pool, *args, **kwargs)
    pool.get_connection = get_connection
"""

CUT_OFF = """
from pathlib import Path

@task
def end_cut_off(fails):
    with (Path(__file__).parents[1] / "runs").open("a") as file:
        file.write("x")
    cut()
    if fails:
        raise LookupError("its own error")
"""


def test_what_has_run_has_run_though_it_cannot_be_noted(
    shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    """A task that was done counted as failed, and ran again."""
    with (shop.directory / "orders/tasks.py").open("a") as file:
        file.write(CUT + CUT_OFF)
    idle_daemon.expect_in_log("its own error")
    idle_daemon.run(require="jobd.contrib.django.worker:app", env=shop.variables)
    idle_daemon.wait_ready(60)
    done = said(shop, "print(json.dumps(end_cut_off.enqueue(False).id))")
    idle_daemon.wait(lambda: redis.get("stat:processed") == b"1", 20, "the first has run")
    found = said(shop, f"print(json.dumps(described(backend.get_result({done!r}))))")
    assert found == ["SUCCESSFUL", None, 1, 0, "end_cut_off"]
    said(shop, "print(json.dumps(end_cut_off.enqueue(True).id))")
    idle_daemon.wait(lambda: redis.zcard("retry") == 1, 20, "the second has failed")
    [(failed, _)] = redis.zscan_iter("retry")
    assert json.loads(failed)["error_message"] == "its own error"
    assert (shop.directory / "runs").read_text() == "xx"
    idle_daemon.wait_for_log(f"not noted of task {done}")
    assert idle_daemon.stop() == 0


def test_what_is_pushed_is_pushed_though_it_cannot_be_noted(
    shop: Shop, redis: redis_py.Redis
) -> None:
    """It looked as if nothing had been enqueued, and the caller tried again."""
    found = said(
        shop,
        CUT
        + """
from jobd.contrib.django.task_record import Records
enqueued = Records.enqueued
def then_cut_off(*args, **kwargs):
    cut()
    enqueued(*args, **kwargs)
Records.enqueued = then_cut_off
result = add.enqueue(1, 2)
print(json.dumps([result.status, result.id]))
""",
    )
    assert found[0] == "READY"
    [pushed] = redis.lrange("queue:default", 0, -1)
    assert json.loads(pushed)["jid"] == found[1]


def test_there_is_no_result_of_what_could_not_be_pushed(shop: Shop, redis: redis_py.Redis) -> None:
    """Nor does noting it raise what the push may not."""
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write('\nJOBD["ON_COMMIT_ERRORS"] = "log"\n')
    found = said(
        shop,
        CUT
        + """
import logging
from django.db import transaction
from django.tasks.exceptions import TaskResultDoesNotExist
cut(1_000)
with transaction.atomic():
    add.enqueue(1, 2)  # away also when it is noted
back = []
class Back(logging.Handler):
    def emit(self, record):
        if "not pushed" in record.getMessage():
            back.append(1)
            cut(0)
logging.getLogger("jobd.contrib.django").addHandler(Back())
with transaction.atomic():
    result = add.enqueue(3, 4)
try:
    backend.get_result(result.id)
except TaskResultDoesNotExist:
    back.append("none")
print(json.dumps(back))
""",
    )
    assert found == [1, "none"]
    assert redis.dbsize() == 0


def test_without_autocommit_it_is_noted_when_it_is_pushed(
    shop: Shop, redis: redis_py.Redis
) -> None:
    found = said(
        shop,
        """
from django.db import transaction
transaction.set_autocommit(False)
with transaction.atomic():
    print(json.dumps(described(backend.get_result(add.enqueue(1, 2).id))))
transaction.rollback()
""",
    )
    assert found == ["READY", None, 0, 0, "add"]
    assert redis.llen("queue:default") == 1


def test_what_a_batch_holds_has_a_result(shop: Shop, redis: redis_py.Redis) -> None:
    found = said(
        shop,
        """
import jobd
with jobd.Batch():
    result = add.enqueue(1, 2)
print(json.dumps(described(backend.get_result(result.id))))
""",
    )
    assert found == ["READY", None, 0, 0, "add"]
    assert redis.llen("queue:default") == 1


HEARD = """
from pathlib import Path
from django.tasks import signals

def heard(signal, sender, task_result, **_):
    kinds = ("enqueued", "started", "finished")
    kind = next(each for each in kinds if getattr(signals, f"task_{each}") is signal)
    with (Path(__file__).parents[1] / "heard").open("a") as file:
        file.write(f"{kind} {sender.__name__} {task_result.task.name} {task_result.status}\\n")

for signal in (signals.task_enqueued, signals.task_started, signals.task_finished):
    signal.connect(heard)
"""


def test_signals_tell_what_happens(shop: Shop, idle_daemon: Daemon, redis: redis_py.Redis) -> None:
    with (shop.directory / "orders/tasks.py").open("a") as file:
        file.write(HEARD)
    said(shop, "add.enqueue(1, 2)\nfail.enqueue()\nprint(0)")
    idle_daemon.expect_in_log("always")
    idle_daemon.run(require="jobd.contrib.django.worker:app", env=shop.variables)
    idle_daemon.wait_ready(60)
    idle_daemon.wait(lambda: redis.zcard("retry") == 1, 20, "one has failed once")
    for member, _ in redis.zscan_iter("retry"):
        redis.zadd("retry", {member: 1})
    idle_daemon.wait(lambda: redis.zcard("dead") == 1, 20, "it has failed for good")
    assert idle_daemon.stop() == 0
    found = (shop.directory / "heard").read_text().splitlines()
    of = {name: [line for line in found if f" {name} " in line] for name in ("add", "fail")}
    begun = "started JobdBackend {} RUNNING"
    assert of["add"] == [
        "enqueued JobdBackend add READY",
        begun.format("add"),
        "finished JobdBackend add SUCCESSFUL",
    ]
    assert of["fail"] == [
        "enqueued JobdBackend fail READY",
        begun.format("fail"),
        begun.format("fail"),
        "finished JobdBackend fail FAILED",
    ]


def test_what_is_enqueued_waits_for_the_commit(shop: Shop, redis: redis_py.Redis) -> None:
    found = said(
        shop,
        """
from django.db import transaction
from django.tasks.exceptions import TaskResultDoesNotExist
try:
    with transaction.atomic():
        gone = add.enqueue(1, 2)
        at_once = add.using(backend="plain").enqueue(3, 4)
        raise LookupError
except LookupError:
    pass
with transaction.atomic():
    kept = add.enqueue(5, 6)
there = []
for result in (gone, at_once, kept):
    try:
        there.append(backend.get_result(result.id).args)
    except TaskResultDoesNotExist:
        there.append(None)
print(json.dumps(there))
""",
    )
    assert found == [None, [3, 4], [5, 6]]
    assert redis.llen("queue:default") == 2


def test_what_is_refused(shop: Shop, redis: redis_py.Redis) -> None:
    found = said(
        shop,
        """
errors = []
def refused(call):
    try:
        call()
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")
refused(lambda: add.enqueue(object(), 1))
refused(lambda: add.enqueue(float("nan"), 1))
refused(lambda: add.enqueue(1))
refused(lambda: backend.get_result("nothing"))
refused(lambda: add.using(backend="plain", priority=5))
refused(lambda: add.using(priority=5))
urgent = add.using(priority=60).enqueue(1, 2)
print(json.dumps(errors))
""",
    )
    assert [error.partition(":")[0] for error in found] == [
        "TypeError",
        "TypeError",
        "TypeError",
        "TaskResultDoesNotExist",
        "InvalidTask",
        "InvalidTask",
    ]
    assert found[5] == "InvalidTask: priority 5 has no queue in PRIORITY_QUEUES"
    assert "b" in found[2]
    assert redis.llen("queue:urgent") == 1
    assert redis.llen("queue:default") == 0


def test_the_modes_of_tests_collect_and_run_tasks(shop: Shop, redis: redis_py.Redis) -> None:
    found = said(
        shop,
        """
from jobd.testing import fake, inline
found = []
with fake() as jobs:
    result = add.enqueue(1, 2)
    jobs.assert_pushed("orders.tasks.add", with_args=([1, 2], {}))
    found.append(result.status)
    found.append(jobs.perform_one())
with inline():
    found.append(attempt.enqueue(times=1).status)
    found.append(greet.enqueue("ada").status)
print(json.dumps(found))
""",
    )
    assert found == ["READY", 3, "READY", "READY"]
    assert redis.dbsize() == 0


@pytest.mark.skipif(django.VERSION < (6, 1), reason="before Django 6.1 a task has no such options")
def test_a_task_may_have_options_of_its_own(shop: Shop) -> None:
    with (shop.directory / "orders/tasks.py").open("a") as file:
        file.write("\n@task(retry=3, timeout=5)\ndef own(): ...\n")
    found = said(
        shop,
        """
from jobd.jobs.app import default
of = [default.registry.lookup(f"orders.tasks.{name}") for name in ("own", "add")]
print(json.dumps([[one.options["retry"], one.timeout] for one in of]))
""",
    )
    assert found == [[3, 5], [1, None]]


def test_the_queues_that_the_settings_name_are_looked_at(shop: Shop) -> None:
    """A daemon that does not serve the queue for urgent tasks would let them wait for ever."""
    done = shop.run("-m", "jobd", "check", "-q", "default")
    said = " ".join(done.stderr.split())
    assert "go to the queues mail, urgent, which this daemon does not serve" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('{"RESULT_TLL": 5}', "has no option 'RESULT_TLL' (use RESULT_TTL)"),
        ('{"RESULT_TTL": 0}', "['RESULT_TTL'] must be seconds, more than 0 (it is 0)"),
        ('{"RETRY": -1}', "['RETRY'] must be True, False or a number of at least 0 (it is -1)"),
        ('{"ON_COMMIT": "no"}', "['ON_COMMIT'] must be True or False (it is 'no')"),
        ('{"PRIORITY_QUEUES": ["urgent"]}', "['PRIORITY_QUEUES'] must be priorities between -100"),
        ('{"PRIORITY_QUEUES": {"urgent": 50}}', "names of queues, like {"),
        ('{"PRIORITY_QUEUES": {"urgent": (9, 1)}}', "['PRIORITY_QUEUES'] must be priorities"),
        ('{"PRIORITY_QUEUES": {"a b": (1, 9)}}', "['PRIORITY_QUEUES'] must be priorities"),
    ],
)
def test_options_that_are_wrong(shop: Shop, options: str, says: str) -> None:
    with (shop.directory / "shop/settings.py").open("a") as file:
        file.write(f'\nTASKS["default"]["OPTIONS"] = {options}\n')
    done = shop.run("-m", "jobd", "check")
    assert done.returncode == Exit.NO_APPLICATION
    assert "TASKS['default']['OPTIONS']" in " ".join(done.stderr.split())
    assert says in " ".join(done.stderr.split())
    told = shop.run("manage.py", "check")
    assert told.returncode == 1
    assert says.partition(" (")[0] in " ".join(told.stderr.split())
