"""The Redis users of docs/acl.md: they are enough, they are as small as they can be, and what is
missing is said by name."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobd import (
    App,
    Client,
    JobCancelledError,
    Result,
    ResultTimeoutError,
    UnavailableError,
    Workflow,
    chain,
    group,
)
from jobd.api import Api, why_not_due
from jobd.api.shared import prometheus
from jobd.api.shared.figures import Figures
from jobd.api.shared.snapshots import REST
from jobd.cli.check import check
from jobd.store import scripts
from jobd.testing import EmbeddedServer
from tests.api.test_periodic import store
from tests.support import forkserver
from tests.support.daemon import Daemon, environment, wait
from tests.web.serving import get, serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/acl.md").read_text()

APP = """
    import os, signal
    from jobd import job, Client

    @job(name="ok")
    def ok():
        Client(os.environ["JOBD_REDIS"]).push({"class": "pushed", "args": []})

    @job(name="pushed")
    def pushed(): pass

    @job(name="fails")
    def fails(): raise ValueError("no")

    @job(name="kills")
    def kills(): os.kill(os.getpid(), signal.SIGKILL)
"""
SENTENCE = r"has no permissions to run the '{}' command.*; docs/acl.md lists what is needed"


def rule(role: str) -> list[str]:
    """The words after ``user`` in the page's line for *role*."""
    found = re.search(rf"<!-- acl {role}: begin -->\n```\nuser (.*?)```", PAGE, re.DOTALL)
    assert found, role
    return found[1].replace("PASSWORD", "pw").split()


class Guarded:
    """A server with one of these users; ``default`` is ours."""

    def __init__(self, server: EmbeddedServer, admin: Any, role: str) -> None:
        self.admin = admin
        self.words = rule(role)
        self.name = self.words[0]
        self.url = server.url.replace("unix://", f"unix://{self.name}:pw@")
        admin.execute_command("ACL", "SETUSER", *self.words)

    def change(self, *words: str) -> None:
        self.admin.execute_command("ACL", "SETUSER", self.name, *words)

    def denied(self) -> set[str]:
        """What has been refused to this user since the last call."""
        found = self.admin.execute_command("ACL", "LOG")
        self.admin.execute_command("ACL", "LOG", "RESET")
        pairs = (dict(zip(map(_text, one[::2]), one[1::2], strict=True)) for one in found)
        return {_text(one["object"]) for one in pairs if _text(one["username"]) == self.name}

    def close(self) -> None:
        self.admin.execute_command("ACL", "DELUSER", self.name)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.fixture
def guarded(
    request: pytest.FixtureRequest, server: EmbeddedServer, redis: Any
) -> Iterator[Guarded]:
    redis.execute_command("ACL", "LOG", "RESET")
    made = Guarded(server, redis, request.param)
    yield made
    made.close()


def as_user(role: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("guarded", [role], indirect=True)


# -- the page against the code -----------------------------------------------------------------

CONNECTING = {"ping", "evalsha", "script|load", "multi", "exec"}
BESIDE = {
    "daemon": CONNECTING | {"hscan", "sscan", "zscan", "unsubscribe"},
    "client": {"ping", "sadd", "lpush", "zadd"},
    "dashboard": CONNECTING
    | {"info", "dbsize", "config|get", "hscan", "sscan", "zscan"}
    # Named by arguments of scripts.
    | {"zrange", "zrevrange", "llen", "zcard", "lpush", "rpush", "sadd", "srem"},
}
"""What is sent in a way that this test does not see."""
FOLDERS = {
    "daemon": ["keeper", "worker", "store/inflight.py", "store/known.py", "api/processes.py"],
    "client": [],
    "dashboard": ["api", "web", "store/known.py", "features/workflows/actions.py"],
}
OF_DOCTOR = {"history.py", "locks.py", "permissions.py", "traffic.py", "usage.py"}
"""Of ``api/diagnosis``: only `jobctl doctor` and `jobctl redis` use them, and do without what
they may not ask."""
OF_PROCESSES_FOR_PEOPLE = {"scard", "get", "hmget"}
"""In a module that the keeper uses in part."""


def commands_in_code(role: str, known: set[str]) -> set[str]:
    """Commands that the sources of *role* send: by a method of the client, or in a script."""
    found = set(BESIDE[role])
    for folder in FOLDERS[role]:
        place = ROOT / "jobd" / folder
        for source in [place] if place.is_file() else place.rglob("*.py"):
            if source.parent.name == "diagnosis" and source.name in OF_DOCTOR:
                continue
            text = source.read_text()
            calls = set(re.findall(r"(?:redis|client|pipe|pipeline)\.([a-z]+)\(", text))
            sent_as_such = re.findall(r'(?:execute_command\(|ask\(\w+,)\s*"([A-Z_]+)"', text)
            calls |= set(map(str.lower, sent_as_such))
            found |= calls & known
            sends = r'(?:pack|ask)\((?:\w+, )?\s*"([A-Z_]+)"(?:, "([A-Z]+)")?'
            for name, part in re.findall(sends, text):
                sent = f"client|{part}" if name == "CLIENT" else name
                found |= {sent.lower()} - {"hello"}
            for name in re.findall(r"scripts\.([A-Z_]+)", text):
                script: scripts.Script = getattr(scripts, name)
                made = script.audited if role == "dashboard" else script
                found |= {
                    each.lower()
                    for each in re.findall(r"redis\.p?call\(\s*'([A-Z]+)'", made.source)
                }
    return found


@pytest.mark.parametrize("role", BESIDE)
def test_the_page_names_the_commands_of_the_code(role: str, redis: Any) -> None:
    known = {name.decode() for name in redis.command_list()}
    allowed = {word[1:] for word in rule(role) if word.startswith("+")}
    needed = commands_in_code(role, known)
    if role == "daemon":
        # It pushes, too; and of one module it uses one function only.
        needed |= {"sadd", "lpush", "zadd", "pttl"}
        needed -= OF_PROCESSES_FOR_PEOPLE - {"hmget"}
    missing, unused = needed - allowed, allowed - needed
    assert not missing, f"docs/acl.md: {role} lacks {' '.join(sorted(missing))}"
    assert not unused, f"docs/acl.md: {role} does not need {' '.join(sorted(unused))}"


# -- the daemon --------------------------------------------------------------------------------


@as_user("daemon")
def test_the_daemons_user_is_enough(tmp_path: Path, guarded: Guarded) -> None:
    """Jobs that end in every way, that push, are due later, and are recovered; and jobctl needs no
    user at all."""
    running = Daemon(tmp_path, guarded.url)
    running.write_app(APP)
    running.expect_in_log("child_died")
    running.run("-w", "1", "-c", "3", "--poll-interval", "0.1", env={"JOBD_REDIS": guarded.url})
    try:
        running.wait_ready()
        push = Client(guarded.url).push
        for name, retry in ("ok", 1), ("fails", 0), ("fails", False), ("fails", 5):
            push({"class": name, "args": [], "retry": retry})
        push({"class": "ok", "args": [], "at": 0.2})
        redis = guarded.admin
        running.wait(lambda: int(redis.get("stat:failed") or 0) >= 3, 30, "three have failed")
        # Among them the retry, and what has been pushed by the two others.
        running.wait(lambda: int(redis.get("stat:processed") or 0) >= 7, 30, "the others are done")
        push({"class": "kills", "args": []})
        running.wait(lambda: redis.zcard("dead") == 2, 60, "a failed and a poisonous job are dead")
        for command in (["status"], ["threads"], ["quiet"], ["resume"]):
            assert running.jobctl(*command).returncode == 0
        assert running.jobctl("stop").returncode == 0
        assert guarded.denied() == set()
        assert "redis_unavailable" not in running.log()
    finally:
        running.check()


@as_user("daemon")
@pytest.mark.parametrize("command", ["evalsha", "hset", "sadd"])
def test_a_start_without_a_permission_ends_with_its_name(
    tmp_path: Path, guarded: Guarded, command: str
) -> None:
    guarded.change(f"-{command}")
    running = Daemon(tmp_path, guarded.url)
    running.write_app(APP)
    refused = running.start("--start-timeout", "12")
    running.check()
    assert refused.returncode == 69, refused.stderr
    assert re.search(SENTENCE.format(command), refused.stderr), refused.stderr
    assert "Traceback" not in running.log()


@as_user("daemon")
@pytest.mark.parametrize("command", ["zrange", "evalsha"])
def test_a_permission_that_is_taken_away_is_missed_by_name_and_without_a_restart(
    tmp_path: Path, guarded: Guarded, command: str
) -> None:
    running = Daemon(tmp_path, guarded.url)
    running.write_app(APP)
    running.run("--poll-interval", "0.1", env={"JOBD_REDIS": guarded.url})
    try:
        running.wait_ready()
        children = running.children()
        guarded.change(f"-{command}")
        running.wait(
            lambda: re.search(SENTENCE.format(command), running.jobctl("status").stdout),
            30,
            "jobctl status names it",
        )
        guarded.change(f"+{command}")
        running.wait_for_log("redis_back")
        Client(guarded.url).push({"class": "pushed", "args": []})
        running.wait(lambda: guarded.admin.get("stat:processed") == b"1", 20, "it works again")
        assert running.children() == children
        lines = [one for one in running.records() if one["event"] == "redis_unavailable"]
        assert len(lines) <= 6, lines
    finally:
        running.check()


@as_user("daemon")
def test_without_dangerous_commands_it_starts_and_works(tmp_path: Path, guarded: Guarded) -> None:
    guarded.change("+@all", "-@dangerous")
    report = check(None, {}, {"redis": guarded.url, "require": ("jobd",)})
    assert any("whether it evicts jobs" in text and "'info'" in text for text in report.warnings)
    assert not [text for _, text in report.problems if "edis" in text]
    running = Daemon(tmp_path, guarded.url)
    running.write_app(APP)
    running.run("-c", "1")
    try:
        running.wait_ready()
        Client(guarded.url).push({"class": "pushed", "args": []})
        running.wait(lambda: guarded.admin.get("stat:processed") == b"1", 20, "a job has run")
        running.wait_for_log("redis_policy_unknown")
    finally:
        running.check()


# -- applications ------------------------------------------------------------------------------


@as_user("client")
def test_the_applications_user_is_enough_and_a_push_names_what_is_missing(guarded: Guarded) -> None:
    client = Client(guarded.url)
    client.push({"class": "a", "args": []})
    client.push({"class": "a", "args": [], "at": 60})
    client.push_bulk({"class": "a", "args": [[1], [2]]})
    assert guarded.denied() == set()
    for command, item in (("lpush", {}), ("zadd", {"at": 60})):
        guarded.change(f"-{command}")
        with pytest.raises(UnavailableError, match=SENTENCE.format(command)):
            client.push({"class": "a", "args": [], **item})
        guarded.change(f"+{command}")
    with pytest.raises(UnavailableError, match=r"docs/acl\.md"):
        Client(guarded.url, "other:").push({"class": "a", "args": []})


# -- the dashboard -----------------------------------------------------------------------------

PATHS = ["", "queues", "queues/mail", "retries", "scheduled", "dead", "busy", "metrics", "trash"]


@as_user("dashboard")
def test_the_dashboards_user_is_enough_and_a_page_names_what_is_missing(
    tmp_path: Path, guarded: Guarded
) -> None:
    api = Api(guarded.url).acting_as("alice")
    change_everything(api)
    settings = {"JOBD_REDIS": guarded.url}
    with serving(tmp_path, settings=settings) as dashboard:
        for path in [*PATHS, "audit", "api/v1/stats", "api/v1/queues", "metrics/prometheus"]:
            answer = get(dashboard.url + path)
            assert answer.status_code in (200, 404), (path, answer.text)
        assert guarded.denied() == set()
        for command in ("info", "zcard"):
            guarded.change(f"-{command}")
            wait(
                partial(page_says, dashboard.url, SENTENCE.format(command)),
                30,
                "the overview says what is missing, once it is asked for again",
            )
            with pytest.raises(UnavailableError, match=SENTENCE.format(command)):
                api.info() if command == "info" else api.stats()
            guarded.change(f"+{command}")


@as_user("dashboard")
def test_the_dashboards_user_is_enough_for_periodic_jobs(guarded: Guarded, redis: Any) -> None:
    store(Api(redis), "shop", "a")
    api = Api(guarded.url).acting_as("alice")
    jobs = api.periodic
    assert len(jobs) == 1
    assert jobs.pause(jobs["a"])
    assert jobs.resume(jobs["a"])
    assert jobs.change(jobs["a"], "@daily")
    assert jobs.reset(jobs["a"])
    jid = jobs.run(jobs["a"])
    assert [one.jid for one in jobs.ticks(jobs["a"])] == [jid]
    assert jobs.ticks_of([jobs["a"]]) == [jobs.ticks(jobs["a"])]
    assert jobs.leader().holder == ""
    assert {one.kind for one in why_not_due(api, jobs["a"])} == {"overlap", "scheduled"}
    assert guarded.denied() == set()


def page_says(url: str, sentence: str) -> bool:
    return bool(re.search(sentence, html.unescape(get(url).text)))


def change_everything(api: Any) -> None:
    """Every kind of action, at least once."""
    queue = api.queue("mail")
    client = Client(redis=api.redis)
    client.push_bulk({"class": "Mail", "queue": "mail", "args": [[n] for n in range(10)]})
    client.push({"class": "Mail", "args": [1], "at": 600})
    failed = {"class": "Mail", "args": [1], "queue": "mail", "retry_count": 0, "error_class": "E"}
    for n in range(8):
        api.retries.schedule(2_000_000_000 + n, {**failed, "jid": f"j{n}"})
    queue.pause()
    queue.unpause()
    changes: dict[str, Callable[[Any], bool]] = {
        "j0": lambda entry: entry.retry(),
        "j1": lambda entry: entry.kill(),
        "j2": lambda entry: entry.reschedule(60),
        "j3": lambda entry: entry.delete(),
        "j4": lambda entry: entry.retry(changes={"args": [2]}),
    }
    for name, change in changes.items():
        assert change(api.retries.find_job(name)), name
    (record, *_) = queue.page(0, 5).entries
    assert record.delete()
    queue.move_all("other")
    api.queue("other").clear()
    for deletion in api.trash.page(0, 5).entries:
        deletion.restore()
    api.retries.clear()
    api.dead.clear()
    api.stats()
    api.info()
    list(api.processes)
    api.audit.page(5)
    api.deploys.mark("v1")


@as_user("dashboard")
def test_jobctl_needs_the_dashboards_user_for_jobs(
    tmp_path: Path, guarded: Guarded, redis: Any
) -> None:
    def jobctl(*arguments: str, code: int = 0) -> str:
        done = forkserver.server.run(
            "jobctl",
            list(arguments),
            directory=tmp_path,
            environment=environment({"JOBD_REDIS": guarded.url}),
            timeout=60,
        )
        assert (done.returncode, guarded.denied()) == (code, set()), (arguments, done.stderr)
        return str(done.stdout)

    jid = jobctl("push", "Mail", "1", "--queue", "mail").split()[-1]
    jobctl("push", "Mail", "2", "--queue", "mail", "--in", "1h", "--option", "unique_for=60")
    api = Api(redis)
    failed = {"class": "Mail", "args": [1], "queue": "mail", "retry_count": 0, "error_class": "E"}
    for n in range(4):
        api.retries.schedule(2_000_000_000 + n, {**failed, "jid": f"j{n}"})
    for looking in ("stats", "groups", "audit", "cron ls", "processes ls", "queues ls"):
        jobctl(*looking.split())
    for looking in ("queues show mail", "retries ls", "jobs find --class Mail", f"jobs show {jid}"):
        jobctl(*looking.split())
    jobctl("why", jid)
    jobctl("wait", jid, "--timeout", "0.1", code=5)
    jobctl("export", "all", "-o", "jobs.jsonl")
    jobctl("import", "jobs.jsonl", "--again")
    for acting in ("queues pause mail", "queues resume mail", "queues move mail other"):
        jobctl(*acting.split())
    for acting in ("retries retry j0", "retries kill j1 --yes", "retries delete j2 --yes"):
        jobctl(*acting.split())
    jobctl("jobs", "delete", "j3", "--yes")
    jobctl("jobs", "cancel", jid, "--yes")
    (deletion, *_) = api.trash
    jobctl("trash", "restore", deletion.ref)
    jobctl("queues", "clear", "other", "--yes")
    (deletion, *_) = api.trash
    jobctl("trash", "purge", deletion.ref, "--yes")
    jobctl("trash", "empty", "--yes")


def test_jobctl_needs_no_user_for_a_daemon() -> None:
    """It does not even load the client."""
    code = "import jobctl.cli, jobctl.daemon.commands, sys; sys.exit('redis' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0


@as_user("attaching")
def test_who_pushes_workflows_and_acts_on_them_needs_no_more(guarded: Guarded, redis: Any) -> None:
    app = App()
    app.configure(guarded.url)
    add = app.job(name="add")(lambda a, b=1: None)
    flow = chain(group(add.s(n) for n in range(150)), add.s(), add.si("x" * 900_000))
    ref = flow.set(id="w").perform_async()
    large = group(add.s("x" * 900_000), add.s("x" * 900_000)).perform_async()
    run = Workflow.get(str(ref), app.client)
    assert run.state == "running"
    with pytest.raises(ResultTimeoutError):
        run.wait(timeout=0.05)
    assert run.result(0) is None
    api = Api(redis)
    queue = api.queue("default")
    queue.clear()
    while scripts.DEPART(redis, [api.keys.departed, *_departed(redis)], [100]):
        pass
    assert run.retry() == 150
    assert run.cancel()
    assert large
    assert guarded.denied() == set()


def _departed(redis: Any) -> list[Any]:
    """The key of what was cleared."""
    return [key for key in redis.hkeys("jobd:departed") if key != b"used"][:1]


@as_user("attaching")
def test_who_pushes_unique_jobs_and_reads_results_needs_no_more(
    guarded: Guarded, redis: Any
) -> None:
    client = Client(guarded.url)
    item = {"class": "A", "args": [1], "unique_for": 60, "keep_result": 60}
    first = client.push({**item, "at": 60})
    second = client.push({**item, "on_conflict": "replace"})
    assert client.push(item) is None
    assert client.push({**item, "on_conflict": "again"})
    assert Result(str(second), client).state == "queued"
    with pytest.raises(JobCancelledError):
        Result(str(first), client).get(timeout=1)
    with pytest.raises(ResultTimeoutError):
        Result(str(second), client).get(timeout=0.05)
    assert guarded.denied() == set()


@as_user("daemon")
def test_the_daemons_user_serves_metrics_with_what_the_page_adds(guarded: Guarded) -> None:
    figures = Figures(Api(guarded.url))
    with pytest.raises(UnavailableError, match=SENTENCE.format("get|scard|dbsize")):
        prometheus.text(figures)
    [more] = re.findall(r"health listener\]\(health.md\), more: `([^`]+)`", PAGE)
    guarded.change(*more.split())
    time.sleep(REST)
    assert "jobd_jobs_processed_total" in prometheus.text(figures)
    guarded.denied()
    guarded.change("+config|get")
    prometheus.text(Figures(Api(guarded.url)))
    assert guarded.denied() == set()
