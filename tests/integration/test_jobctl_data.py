"""jobctl on Redis, as an operator uses it: the real command, a real server, a real daemon."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import psutil
import pytest
import redis as redis_py

from jobctl.cli import jobctl as jobctl_itself
from jobctl.codes import Problem
from jobctl.data import bulk
from jobd import Batch, Client
from jobd.api import Api
from jobd.errors import RefusedError
from jobd.testing import EmbeddedServer
from tests.api.test_processes import NEW, beat
from tests.conftest import StartDaemon
from tests.support import forkserver
from tests.support.daemon import environment, wait
from tests.support.terminals import at_terminal

Done = subprocess.CompletedProcess[str]
Jobctl = Callable[..., Done]

APP = """
    from jobd import current_job, job

    @job(queue="mail", keep_result=60)
    def welcome(user, *, loud=False):
        current_job().progress(1, 2, "half")
        return [user, loud]

    @job(queue="mail", retry=0)
    def broken(number):
        raise ValueError(f"no user {number}")
"""


@pytest.fixture
def jobctl(server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path) -> Jobctl:
    """Runs the command with what it needs to find Redis, and nobody at a terminal."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> Done:
        return forkserver.server.run(
            "jobctl",
            list(arguments),
            directory=tmp_path,
            environment=environment({"JOBD_REDIS": server.url, **(env or {})}),
            timeout=30,
        )

    return run


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)


def rows(done: Done) -> list[Any]:
    """What it has printed with --json."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def job(number: int, name: str = "Mail", **fields: Any) -> dict[str, Any]:
    return {
        "class": name,
        "args": [number],
        "queue": "mail",
        "jid": f"{number:024x}",
        "retry": True,
        "created_at": 1_795_416_100.0,
        **fields,
    }


def fill(api: Api, *, dead: int = 0, queued: int = 0, retries: int = 0) -> None:
    """Jobs 0… in each of these places."""
    failed: dict[str, Any] = {
        "error_class": "KeyError",
        "failed_at": 1_795_416_200.0,
        "retry_count": 0,
    }
    with api.redis.pipeline(transaction=False) as pipe:
        for number in range(queued):
            pipe.sadd("queues", "mail")
            pipe.lpush("queue:mail", json.dumps(job(number)))
        for key, count in (("dead", dead), ("retry", retries)):
            for number in range(count):
                raw = json.dumps(job(number, **failed, error_message=f"no user {number}"))
                pipe.zadd(key, {raw: 2_000_000_000 + number})
        pipe.execute()


# -- a day of an operator --------------------------------------------------------------------------


def test_a_job_is_pushed_explained_waited_for_and_retried(
    jobctl: Jobctl, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    assert jobctl("queues", "pause", "mail").returncode == 0
    daemon(APP, "-q", "mail")
    kept = ("-q", "mail", "--option", "keep_result=60")
    jid = jobctl("push", "app.welcome", "42", "--kwarg", "loud=true", *kept).stdout.strip()
    why = jobctl("why", jid)
    assert why.stdout.startswith("Queue mail is paused: no worker takes jobs from it.\n")
    assert "jobctl queues resume mail" in why.stdout
    assert "app.welcome(42, loud=true)" in why.stdout
    assert jobctl("wait", jid, "--timeout", "0.1").returncode == 5

    assert jobctl("queues", "resume", "mail").returncode == 0
    assert rows(jobctl("wait", jid, "--json")) == [
        {"jid": jid, "state": "done", "error": None, "value": [42, True]}
    ]
    assert jobctl("why", jid).stdout.startswith("It is done, ")

    bad = jobctl("push", "app.broken", "7", *kept, "--retry", "0").stdout.strip()
    failed = jobctl("wait", bad)
    assert (failed.returncode, failed.stdout) == (1, "failed: ValueError: no user 7\n")
    (found,) = rows(jobctl("jobs", "find", "--arg", "7", "--json"))
    assert (found["place"], found["job"]["jid"]) == ("dead", bad)
    (group,) = rows(jobctl("groups", "dead", "--json"))
    assert (group["count"], group["error_class"]) == (1, "ValueError")
    retried = rows(jobctl("dead", "retry", "--group", group["key"], "--json"))
    assert retried == [{"changed": 1, "dry_run": False, "ref": ""}]
    wait(lambda: redis.get("stat:failed") == b"2", 10, "it has failed again")


def test_processes_of_all_hosts_are_listed_and_tell_their_stacks(
    jobctl: Jobctl, daemon: StartDaemon
) -> None:
    daemon(APP, "-q", "mail")
    (process,) = rows(jobctl("processes", "ls", "--json"))
    assert process["queues"] == {"mail": 0}
    host, pid, _ = process["identity"].split(":")
    stacks = jobctl("processes", "threads", f"{host}:{pid}")
    assert f"worker.0 {process['identity']}" in stacks.stdout
    refused = jobctl("processes", "stop", "--all")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert rows(jobctl("processes", "quiet", host, "--yes", "--json"))[0]["changed"] == 1
    wait(
        lambda: rows(jobctl("processes", "ls", "--json"))[0]["stopping"], 20, "the process is quiet"
    )


def told(server: EmbeddedServer, *arguments: str) -> click.testing.Result:
    given = ["processes", *arguments, "--redis", server.url]
    return click.testing.CliRunner().invoke(jobctl_itself, given)


def test_processes_that_cannot_be_told_anything(
    server: EmbeddedServer, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said that they have been told, or that 0 processes have been, without a reason."""
    now = {"beat": time.time(), "concurrency": 5, "busy": 0}
    beat(api, "web1:7:aa", NEW, **now)
    beat(api, "web2:8:bb", {**NEW, "embedded": True}, **now)
    for command in (["quiet", "--yes"], ["stop", "--dry-run"], ["threads"]):
        answer = told(server, *command, "web2")
        assert isinstance(answer.exception, Problem)
        assert "web2:8:bb is a part of another program" in str(answer.exception)
    monkeypatch.setattr(bulk, "confirm", lambda *_, **__: api.redis.delete("web1:7:aa"))
    answer = told(server, "stop", "web1")
    assert isinstance(answer.exception, Problem)
    assert str(answer.exception) == "web1:7:aa has ended."
    assert told(server, "stop", "--all").stdout == "0 processes have been told to stop.\n"


# -- lists and filters -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--arg", "3"), [3]),
        (("--error", "NO USER 4"), [4]),
        (("--match", '"args": [5]'), [5]),
        (("--class", "Mail", "--arg", "1"), [1]),
        (("--class", "Other"), []),
        (("--queue", "slow"), []),
        (("--tag", "x"), []),
        (("--newer", "1h"), []),
        (("--older", "1s", "--arg", "6"), [6]),
    ],
)
def test_filters_must_all_fit(
    filters: tuple[str, ...], expected: list[int], jobctl: Jobctl, api: Api
) -> None:
    fill(api, retries=10)
    found = [row["args"][0] for row in rows(jobctl("retries", "ls", "--json", *filters))]
    assert found == expected
    rehearsed = rows(jobctl("retries", "delete", "--dry-run", "--json", *filters))
    assert rehearsed == [{"changed": len(expected), "dry_run": True, "ref": ""}]
    assert api.retries.size == 10


def test_jobs_that_say_no_time_are_left_out_by_ages_and_counted(jobctl: Jobctl, api: Api) -> None:
    fill(api, retries=3)
    for number in range(2):
        timeless = {"class": "Old", "args": [number], "jid": f"{number:024}"}
        api.redis.zadd("retry", {json.dumps(timeless): number})
        api.redis.lpush("queue:default", json.dumps(timeless | {"args": []}))
        api.redis.sadd("queues", "default")
    found = jobctl("retries", "ls", "--older", "1s", "--json")
    assert len(rows(found)) == 3
    assert found.stderr == "jobctl: 2 jobs that say no time were left out by --older or --newer\n"
    found = jobctl("jobs", "find", "--newer", "1h", "--class", "Old")
    assert "4 jobs that say no time were left out" in found.stderr
    assert jobctl("retries", "ls", "--older", "1s", "--class", "Mail").stderr == ""
    assert jobctl("retries", "ls").stderr == ""
    one = jobctl("retries", "ls", "--older", "1s", "--arg", "0")
    assert "jobctl: 1 job that says no time was left out" in one.stderr
    killed = jobctl("retries", "kill", "--older", "1s", "--yes")
    assert killed.returncode == 0
    assert "2 jobs that say no time were left out" in killed.stderr
    assert api.retries.size == 2


def test_arguments_are_found_at_any_depth_and_by_type(jobctl: Jobctl, api: Api) -> None:
    for number, args in enumerate([[{"order": {"id": 4711}}], ["4711"], [47110], [True]]):
        api.redis.zadd("dead", {json.dumps(job(number, args=args)): number})
    found = rows(jobctl("dead", "ls", "--arg", "4711", "--json"))
    assert sorted(row["jid"] for row in found) == [f"{number:024x}" for number in (0, 1)]
    assert rows(jobctl("dead", "ls", "--arg", "1", "--json")) == []


def test_a_list_without_filters_is_in_the_order_of_time_and_says_that_there_is_more(
    jobctl: Jobctl, api: Api
) -> None:
    fill(api, retries=30)
    shown = jobctl("retries", "ls", "-n", "5").stdout.splitlines()
    assert [line.split("ValueError")[0].count("0000") > 0 for line in shown[1:6]] == [True] * 5
    assert shown[-1] == "25 more; --limit 0 shows all"
    assert len(rows(jobctl("retries", "ls", "--limit", "0", "--json"))) == 30


# -- changes ---------------------------------------------------------------------------------------


def test_what_deletes_asks_or_wants_yes_and_can_be_undone(jobctl: Jobctl, api: Api) -> None:
    fill(api, dead=3)
    refused = jobctl("dead", "delete", "--all")
    assert (refused.returncode, api.dead.size) == (2, 3)
    assert "Delete 3 jobs of dead? Give --yes" in refused.stderr
    (done,) = rows(jobctl("dead", "delete", "--arg", "1", "--yes", "--json"))
    assert (done["changed"], api.dead.size) == (1, 2)
    assert jobctl("trash", "restore", done["ref"]).stdout == "Restored 1 job.\n"
    assert api.dead.size == 3
    (entry, *_) = rows(jobctl("audit", "--json"))
    assert (entry["action"], entry["target"], entry["jobs"]) == ("restore", "dead", 1)
    assert entry["who"].endswith(" (jobctl)")


def test_more_than_a_page_of_the_trash_and_of_the_log(jobctl: Jobctl, api: Api) -> None:
    alice = api.acting_as("alice")
    for number in range(1001):
        api.redis.rpush("queue:mail", json.dumps(job(number)))
        alice.queue("mail").clear()
    assert len(rows(jobctl("audit", "--limit", "1001", "--json"))) == 1001
    assert "1,001 jobs" in jobctl("trash", "empty", "--dry-run").stdout
    assert jobctl("trash", "empty", "--yes").stdout == "Deleted 1,001 jobs for good.\n"


def test_killed_jobs_whose_way_back_is_purged_are_not_called_deleted(
    jobctl: Jobctl, api: Api
) -> None:
    api.redis.zadd("retry", {json.dumps(job(number)): 1 for number in range(2)})
    (done,) = rows(jobctl("retries", "kill", "--all", "--yes", "--json"))
    purged = jobctl("trash", "purge", done["ref"], "--yes").stdout
    assert purged == "2 jobs stay where they are now, and cannot be put back any more.\n"
    assert api.dead.size == 2


def test_ids_that_are_not_there_change_nothing(jobctl: Jobctl, api: Api) -> None:
    fill(api, dead=2)
    done = jobctl("dead", "delete", f"{0:024x}", "feed", "--yes")
    assert done.returncode == 1
    assert "not among the dead: feed; nothing was changed" in done.stderr
    assert api.dead.size == 2
    assert jobctl("dead", "delete", f"{0:024x}", f"{1:024x}", "--yes").returncode == 0
    assert api.dead.size == 0


def test_one_job_is_retried_killed_and_deleted_wherever_it_is(jobctl: Jobctl, api: Api) -> None:
    fill(api, retries=1)
    jid = f"{0:024x}"
    assert jobctl("jobs", "kill", jid, "--yes").returncode == 0
    assert (api.dead.size, api.retries.size) == (1, 0)
    assert "is dead already" in jobctl("jobs", "kill", jid, "--yes").stderr
    assert jobctl("jobs", "retry", jid).stdout == "Put into their queues: 1 job.\n"
    assert "place" in jobctl("jobs", "show", jid).stdout
    assert jobctl("jobs", "delete", jid, "--yes").returncode == 0
    assert api.stats().enqueued == 0
    assert jobctl("jobs", "show", jid).returncode == 1


def test_a_job_to_which_nothing_was_done_is_no_success(jobctl: Jobctl, api: Api) -> None:
    fill(api, dead=1)
    # There and found, but no job, so that it cannot run.
    malformed = json.dumps({"jid": "broken", "class": 1, "args": "x"})
    api.redis.zadd("dead", {malformed: 2_000_000_000})
    done = jobctl("dead", "retry", f"{0:024x}", "broken", "--json")
    assert (done.returncode, json.loads(done.stdout)["changed"]) == (1, 1)
    assert "jobctl: nothing was done to 1 of 2 jobs: " in done.stderr
    done = jobctl("jobs", "retry", "broken")
    assert (done.returncode, done.stdout) == (1, "Put into their queues: 0 jobs.\n")
    assert "jobctl: nothing was done: " in done.stderr
    assert api.dead.size == 1


def test_more_jobs_than_the_dead_set_keeps_are_not_killed_without_saying_so(
    jobctl: Jobctl, api: Api, server: EmbeddedServer, tmp_path: Path
) -> None:
    fill(api, retries=4)
    (tmp_path / "jobd.toml").write_text(f'redis = "{server.url}"\ndead_max_jobs = 4\n')
    kept = "It keeps 3; what is more is lost, also for the trash."
    assert kept in jobctl("retries", "kill", "--all", "--dry-run").stdout
    assert kept in jobctl("retries", "kill", "--all").stderr
    assert "It keeps" not in jobctl("retries", "kill", "--arg", "1", "--dry-run").stdout
    done = jobctl("retries", "kill", "--all", "--yes", "--json")
    assert (rows(done)[0]["changed"], api.dead.size) == (4, 3)
    assert jobctl("trash", "restore", rows(done)[0]["ref"]).returncode == 0
    assert (api.retries.size, api.dead.size) == (3, 0)


def test_one_job_that_another_keeps_out_does_not_stop_all_the_others(
    jobctl: Jobctl, api: Api, server: EmbeddedServer
) -> None:
    client = Client(server.url)
    unique = {"class": "Unique", "args": [1], "queue": "mail", "unique_for": 600}
    assert client.push(unique)
    [pushed] = api.queue("mail").page()
    assert pushed.delete()
    fill(api, dead=300)
    api.redis.zadd("dead", {pushed.value: 1})
    holder = client.push(unique)
    stays = f"jobctl: 1 job stays. A unique job cannot come back .* is there: {holder}."
    done = jobctl("dead", "retry", "--all")
    assert (done.returncode, done.stdout) == (0, "Put into their queues: 300 jobs.\n")
    assert re.search(stays, done.stderr)
    done = jobctl("dead", "retry", "--class", "Unique")
    assert (done.returncode, done.stdout) == (0, "Put into their queues: 0 jobs.\n")
    assert re.search(stays, done.stderr)
    assert jobctl("dead", "retry", str(pushed.jid)).returncode == 1
    assert [entry.value for entry in api.dead] == [pushed.value]


def test_a_queue_of_which_nobody_has_heard_is_told(jobctl: Jobctl, api: Api) -> None:
    fill(api, queued=1)
    for command in (
        ("pause", "mial"),
        ("show", "mial"),
        ("clear", "mial", "--yes"),
        ("move", "mial", "mail"),
        ("move", "mail", "mial", "--dry-run"),
    ):
        api.redis.srem("queues", "mial")
        done = jobctl("queues", *command)
        assert done.returncode == 0
        assert done.stderr == (
            "jobctl: there is no queue mial so far, and no process serves it; did you mean mail?\n"
        ), command
    assert jobctl("queues", "pause", "mail").stderr == ""
    assert jobctl("queues", "resume", "mail").stderr == ""


def test_what_would_be_done_to_one_job_is_shown(jobctl: Jobctl, api: Api) -> None:
    fill(api, dead=1, queued=1, retries=2)
    jid = f"{1:024x}"
    for action in ("cancel", "kill", "delete"):
        done = jobctl("jobs", action, jid, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert re.search(rf"(?s)retries +{jid} .*\n1 job\. .*Nothing was changed", done.stdout)
        assert rows(jobctl("jobs", action, jid, "--dry-run", "--json"))[0]["dry_run"]
    assert jobctl("jobs", "cancel", "nobody", "--dry-run").returncode == 1
    assert (api.retries.size, api.queue("mail").size, api.dead.size) == (2, 1, 1)


def test_queues_are_moved_and_cleared(jobctl: Jobctl, api: Api) -> None:
    fill(api, queued=300)
    assert jobctl("queues", "move", "mail", "slow").stdout == "Moved 300 jobs to queue slow.\n"
    ahead = [row["args"][0] for row in rows(jobctl("queues", "show", "slow", "--json", "-n", "3"))]
    assert ahead == [0, 1, 2]
    assert jobctl("queues", "clear", "slow", "--arg", "7", "--yes").returncode == 0
    assert api.queue("slow").size == 299
    assert jobctl("queues", "clear", "slow", "--yes").returncode == 0
    assert api.queue("slow").size == 0
    assert jobctl("queues", "move", "mail", "mail").returncode == 2


def test_an_interrupted_action_says_what_it_has_done(
    server: EmbeddedServer, api: Api, tmp_path: Path
) -> None:
    fill(api, dead=20_000)
    # Every step of the action is a script; the first one that has deleted something lets us go on.
    command = [sys.executable, "-m", "jobctl", "dead", "delete", "--class", "Mail", "--yes"]
    running = subprocess.Popen(
        command,
        env=environment({"JOBD_REDIS": server.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait(lambda: api.dead.size < 20_000, 20, "it has begun")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    left = api.dead.size
    assert running.returncode == 130, said
    [deleted] = api.trash.page()
    undo = f"Undo: jobctl trash restore {deleted.ref}."
    assert f"interrupted. Deleted {20_000 - left:,} jobs. {undo} The others" in said


# -- what comes out --------------------------------------------------------------------------------


HOSTILE = "\x1b[31mred\x07\x9b2J\u202e"


def test_nothing_reaches_the_terminal_unescaped(jobctl: Jobctl, api: Api) -> None:
    huge = job(1, HOSTILE, args=[HOSTILE, "x" * 2_000_000], error_class=HOSTILE, queue=HOSTILE)
    for raw in (json.dumps(huge).encode(), HOSTILE.encode(errors="ignore"), b"\xff\xfe"):
        api.redis.zadd("dead", {raw: 2_000_000_000})
        api.redis.lpush(f"queue:{HOSTILE}", raw)
    api.redis.sadd("queues", HOSTILE)
    jid = huge["jid"]
    for command in (
        ("dead", "ls"),
        ("dead", "ls", "--json"),
        ("dead", "show", jid),
        ("dead", "show", jid, "--json"),
        ("jobs", "find", jid),
        ("jobs", "show", jid),
        ("why", jid),
        ("queues", "ls"),
        ("queues", "show", HOSTILE),
        ("groups",),
        ("stats",),
        ("dead", "delete", "--dry-run", "--all"),
    ):
        done = jobctl(*command, env={"COLUMNS": "100"})
        assert done.returncode == 0, done.stderr
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout), command
        if "--json" not in command:
            assert len(done.stdout) < 40_000


@pytest.mark.parametrize("text", ["\n" * 1_000_000, "a" * 1_000_000, "\x1b[31m" * 200_000])
def test_no_text_of_a_job_floods_the_terminal(
    jobctl: Jobctl, api: Api, server: EmbeddedServer, text: str
) -> None:
    texts = {"error_class": text, "error_message": text, "tags": [text], "queue": text}
    huge = job(1, text, display_class=text, args=[text], kwargs={text: text}, **texts)
    api.redis.zadd("dead", {json.dumps(huge): 2_000_000_000})
    batch = Batch(description=text, client=Client(server.url))
    with batch:
        pass
    for command in (
        ("dead", "show", huge["jid"]),
        ("dead", "ls"),
        ("why", huge["jid"]),
        ("groups", "dead"),
        ("batch", "show", batch.bid),
        ("batch", "ls"),
    ):
        done = jobctl(*command)
        assert done.returncode == 0, done.stderr[:1_000]
        assert len(done.stdout + done.stderr) < 1_000_000, command


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_tables_fit_the_terminal(columns: int, jobctl: Jobctl, api: Api) -> None:
    fill(api, dead=3, queued=3)
    for command in (("dead", "ls"), ("queues", "show", "mail"), ("queues", "ls"), ("groups",)):
        shown = jobctl(*command, env={"COLUMNS": str(columns)}).stdout
        assert shown
        lines = [line for line in shown.splitlines() if not line.startswith("JID ")]
        assert max(map(len, lines)) <= columns, shown


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_ids_are_whole(columns: int, jobctl: Jobctl, api: Api) -> None:
    fill(api, dead=1, queued=1, retries=1)
    [died], [waiting] = api.dead, api.queue("mail").page(0, 1).entries
    ref = rows(jobctl("retries", "delete", "--all", "--yes", "--json"))[0]["ref"]
    for command, jid in (
        (("dead", "ls"), died.jid),
        (("queues", "show", "mail"), waiting.jid),
        (("jobs", "find", "--class", "Mail"), died.jid),
        (("trash", "ls"), ref),
    ):
        shown = jobctl(*command, env={"COLUMNS": str(columns)}).stdout
        assert jid in shown.split(), shown


def test_colours_are_for_terminals_and_not_with_no_color(
    server: EmbeddedServer, api: Api, tmp_path: Path
) -> None:
    fill(api, dead=1)

    def shown(**env: str) -> str:
        found, code = at_terminal(server, None, "dead", "ls", env=env)
        assert code == 0
        return found

    assert "\x1b[31mKeyError" in shown()
    assert "\x1b[" not in shown(NO_COLOR="1")


@pytest.mark.parametrize("command", [["dead", "ls", "--limit", "0"], ["export", "dead"]])
def test_a_closed_pipe_ends_quietly_and_a_full_disk_does_not(
    command: list[str], server: EmbeddedServer, api: Api
) -> None:
    fill(api, dead=5_000)
    ours = [sys.executable, "-m", "jobctl", *command]
    env = environment({"JOBD_REDIS": server.url})
    with subprocess.Popen(ours, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            ours, env=env, stdout=full, stderr=subprocess.PIPE, check=False, timeout=20
        )
    assert done.returncode == 1
    assert done.stderr == b"jobctl: cannot write the output: No space left on device\n"


def test_waiting_goes_on_after_an_outage(tmp_path: Path) -> None:
    with EmbeddedServer() as own:
        jid = Client(own.url).push({"class": "A", "args": []})
        said = tmp_path / "said"
        with said.open("w") as err:
            waiting = subprocess.Popen(
                [sys.executable, "-m", "jobctl", "wait", str(jid), "--redis", own.url],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        with redis_py.Redis.from_url(own.url) as redis:
            wait(lambda: "cmdstat_lrange" in str(redis.info("commandstats")), 60, "it has looked")
            own.stop()
        wait(lambda: "waiting for it, too" in said.read_text(), 60, "it says that Redis is away")
        assert waiting.poll() is None
        own.start()
        with redis_py.Redis.from_url(own.url) as redis:
            assert redis.lpop("queue:default")
        shown, _ = waiting.communicate(timeout=60)
    assert (shown, waiting.returncode) == ("ended (no result is kept)\n", 0)


def test_an_outage_while_statistics_are_watched_is_not_among_them(tmp_path: Path) -> None:
    shown, said = tmp_path / "shown", tmp_path / "said"
    with EmbeddedServer() as own:
        command = ["stats", "--watch", "--every", "0.1", "--json", "--redis", own.url]
        with shown.open("w") as out, said.open("w") as err:
            watching = subprocess.Popen(
                [sys.executable, "-m", "jobctl", *command],
                env=environment(),
                stdout=out,
                stderr=err,
            )
        wait(shown.read_text, 60, "it has looked")
        own.stop()
        wait(said.read_text, 60, "it says that Redis is away")
        before = shown.read_text()
        own.start()
        wait(lambda: shown.read_text() != before, 60, "it goes on")
        watching.send_signal(signal.SIGINT)
        watching.wait(60)
    assert all("processed" in json.loads(line) for line in shown.read_text().splitlines())


# -- which Redis -----------------------------------------------------------------------------------


def test_the_options_stand_on_both_sides_and_the_later_one_counts(
    jobctl: Jobctl, server: EmbeddedServer, api: Api
) -> None:
    fill(api, queued=1)
    env = {"JOBD_REDIS": "redis://127.0.0.1:1/0"}
    for command in (
        ("--redis", server.url, "queues", "ls", "--json"),
        ("queues", "--json", "--redis", server.url, "ls"),
        ("--json", "--redis", "redis://127.0.0.1:1/1", "queues", "ls", "--redis", server.url),
    ):
        assert rows(jobctl(*command, env=env))[0]["name"] == "mail"
    assert rows(jobctl("queues", "ls", "--prefix", "other:", "--json")) == []


def test_the_configuration_names_it_even_if_it_is_wrong_elsewhere(
    jobctl: Jobctl, server: EmbeddedServer, api: Api, tmp_path: Path
) -> None:
    fill(api, queued=1)
    (tmp_path / "jobd.toml").write_text(f'redis = "{server.url}"\nworkers = "many"\n')
    done = jobctl("queues", "ls", env={"JOBD_REDIS": ""})
    assert (done.returncode, "mail" in done.stdout) == (0, True)
    assert "workers must be a whole number" in done.stderr
    for wrong in (f'redis = "{server.url}"\nprefix = 7\n', "redis = ", f'redsi = "{server.url}"\n'):
        (tmp_path / "jobd.toml").write_text(wrong)
        done = jobctl("queues", "ls", env={"JOBD_REDIS": ""})
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert "jobd.toml" in done.stderr


def test_a_dead_server_and_a_wrong_password_are_told_without_a_traceback(
    jobctl: Jobctl, server: EmbeddedServer
) -> None:
    for url, text in (
        ("redis://127.0.0.1:1/0", "Redis at 127.0.0.1:1 "),
        (server.url.replace("unix://", "unix://nobody:wrong@"), "check the user and the password"),
    ):
        for command in ("stats", "why feed", "dead ls", "push A", "export all", "audit"):
            done = jobctl("--redis", url, *command.split())
            assert (done.returncode, done.stdout) == (8, ""), done.stderr
            assert text in done.stderr
            assert done.stderr.count("\n") == 1


# -- export and import -----------------------------------------------------------------------------


def everything(redis: redis_py.Redis) -> dict[str, Any]:
    """What is in the queues and the sets, in their order."""
    found: dict[str, Any] = {"mail": redis.lrange("queue:mail", 0, -1)}
    for key in ("dead", "retry", "schedule"):
        found[key] = redis.zrange(key, 0, -1, withscores=True)
    return found


def test_every_byte_comes_back(
    jobctl: Jobctl, api: Api, redis: redis_py.Redis, tmp_path: Path
) -> None:
    fill(api, dead=250, queued=300, retries=5)
    for raw in (b"\xff\x00", b"not json", '{"class":"Ä","args":["\\u2028"]}'.encode()):
        redis.zadd("schedule", {raw: 1_795_416_072.920344})
        redis.rpush("queue:mail", raw)
    before = everything(redis)
    assert jobctl("export", "all", "-o", "jobs.jsonl").stderr == "jobctl: 561 jobs written\n"
    redis.flushall()
    assert jobctl("import", "jobs.jsonl").stdout == "Imported 561 jobs.\n"
    assert everything(redis) == before
    again = jobctl("import", "jobs.jsonl")
    assert again.returncode == 1
    assert "was imported before; give --again" in again.stderr
    assert everything(redis) == before
    assert jobctl("import", "jobs.jsonl", "--again").returncode == 0
    assert redis.llen("queue:mail") == 2 * len(before["mail"])
    assert jobctl("export", "all", "-o", "jobs.jsonl").returncode == 1  # it exists
    assert not api.trash.page().size


def test_a_full_server_is_freed_by_deleting_for_good(
    jobctl: Jobctl, api: Api, server: EmbeddedServer
) -> None:
    redis, client = api.redis, Client(server.url)

    def taken() -> bool:
        try:
            return bool(redis.set("test:more", "x" * 100_000))
        except RefusedError:
            return False

    for number in range(3):
        for _ in range(200):
            client.push({"class": "Big", "args": ["x" * 20_000], "queue": f"q{number}"})
    full = int(redis.info("memory")["used_memory"])
    redis.config_set("maxmemory", full)
    try:
        assert not taken()
        (done,) = rows(jobctl("queues", "clear", "q0", "--yes", "--json"))
        assert jobctl("queues", "clear", "q1", "--yes").returncode == 0
        refused = jobctl("trash", "purge", done["ref"])
        assert refused.returncode == 2
        assert "be restored afterwards. Delete for good 200 jobs? Give --yes" in refused.stderr
        assert "200 jobs" in jobctl("trash", "purge", done["ref"], "--dry-run").stdout
        shown = jobctl("trash", "purge", done["ref"], "--yes").stdout
        assert shown == "Deleted 200 jobs for good.\n"
        wait(taken, 20, "Redis, which frees memory beside its work, has room again")
        assert jobctl("trash", "restore", done["ref"]).returncode == 1
        assert "200 jobs" in jobctl("trash", "empty", "--dry-run").stdout
        assert jobctl("trash", "empty").returncode == 2
        assert rows(jobctl("trash", "empty", "--yes", "--json"))[0]["changed"] == 200
        assert jobctl("trash", "empty", "--yes").stdout == "Deleted 0 jobs for good.\n"
        assert jobctl("trash", "empty").stdout == "the trash is empty\n"
        assert jobctl("trash", "ls").stdout == "the trash is empty\n"
        assert api.queue("q2").size == 200
    finally:
        redis.config_set("maxmemory", 0)
    assert [entry["action"] for entry in rows(jobctl("audit", "--json"))][:2] == ["purge", "purge"]


def test_what_is_not_whole_is_not_imported(jobctl: Jobctl, api: Api, tmp_path: Path) -> None:
    fill(api, dead=250)
    whole = jobctl("export", "dead").stdout.splitlines(keepends=True)
    api.redis.flushall()
    header, *jobs, end = whole
    for text, said in (
        ([header, *jobs], "the file is not complete"),
        ([header, *jobs[:-1], end], "is not what jobctl export writes"),
        ([header, *jobs, '{"place":"nowhere","payload":"{}"}\n', end], "line 252 of "),
        (["{}\n"], "is not a file of jobctl export"),
        ([header.replace('export":1', 'export":9')], "has version 9 of the format"),
        ([], "is not a file of jobctl export"),
        ([*whole, *whole], "comes after the end of an export: import one file at a time"),
        ([*whole, "\0"], "line 253 of "),
        ([header, '{"place":"dead","score":"nan","payload":"{}"}\n', '{"end":1}\n'], "line 2 of "),
        (["\0" * 100_000], "is not a file of jobctl export"),
    ):
        (tmp_path / "broken").write_text("".join(text))
        done = jobctl("import", "broken")
        assert done.returncode in (1, 2)
        assert said in done.stderr, done.stderr
        assert api.redis.dbsize() == 0
    assert jobctl("import", "missing").returncode == 1


MEASURED = """
import atexit, shutil
from jobctl.cli import main
# What the kernel says of a process that has ended includes the one that started it.
atexit.register(shutil.copy, "/proc/self/status", "status")
main()
"""


def test_an_import_needs_as_little_memory_for_bytes_that_are_no_text(
    server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    job_of_a_megabyte = base64.b64encode(b"\xff" * 1_000_000).decode()
    with (tmp_path / "bytes.jsonl").open("w") as file:
        file.write('{"jobd_export":1,"id":"a","at":1}\n')
        for _ in range(100):
            file.write(json.dumps({"place": "queue:mail", "base64": job_of_a_megabyte}) + "\n")
        file.write('{"end":100}\n')
    subprocess.run(
        [sys.executable, "-c", MEASURED, "import", "bytes.jsonl"],
        env=environment({"JOBD_REDIS": server.url}),
        cwd=tmp_path,
        check=True,
    )
    assert redis.llen("queue:mail") == 100
    [most] = re.findall(r"VmHWM:\s+(\d+) kB", (tmp_path / "status").read_text())
    # Without limit it takes 370,000 kB; most of what is left is what the programs need.
    assert int(most) < 250_000


def test_an_export_to_a_full_disk_says_so(server: EmbeddedServer, api: Api, tmp_path: Path) -> None:
    fill(api, dead=5_000)
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -f 200; exec {sys.executable} -m jobctl export dead -o full"],
        env=environment({"JOBD_REDIS": server.url}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    incomplete = "the file is not complete, and jobctl import refuses it"
    assert done.stderr == f"jobctl: cannot write full: File too large; {incomplete}\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_export_that_is_interrupted_says_what_is_in_the_file(
    unbuffered: str, server: EmbeddedServer, api: Api, jobctl: Jobctl, tmp_path: Path
) -> None:
    fill(api, dead=5_000)
    with subprocess.Popen(
        [sys.executable, "-m", "jobctl", "export", "dead"],
        env=environment({"JOBD_REDIS": server.url, "PYTHONUNBUFFERED": unbuffered}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        begun = os.read(running.stdout.fileno(), 1)  # the rest does not fit the pipe
        running.send_signal(signal.SIGINT)
        written = begun + running.stdout.read()
        said = running.stderr.read().decode()
    count = written.count(b"\n") - 1  # without the header
    assert 0 < count < 5_000
    assert running.returncode == 130
    assert said.startswith(f"jobctl: interrupted after {count:,} jobs; the file is not complete")
    (tmp_path / "part").write_bytes(written)
    assert "the file is not complete; nothing was imported" in jobctl("import", "part").stderr


def test_an_export_that_finds_nothing_is_interrupted_too(server: EmbeddedServer, api: Api) -> None:
    fill(api, dead=40_000)
    redis: Any = api.redis
    redis.config_resetstat()
    with subprocess.Popen(
        [sys.executable, "-m", "jobctl", "export", "dead", "--class", "Other"],
        env=environment({"JOBD_REDIS": server.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        wait(lambda: "cmdstat_zscan" in redis.info("commandstats"), 60, "it searches")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.startswith(b"jobctl: interrupted after 0 jobs; the file is not complete")


def test_an_import_that_is_interrupted_imports_nothing(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    jobs = b'{"place":"queue:mail","payload":"x"}\n' * 100
    with subprocess.Popen(
        [sys.executable, "-m", "jobctl", "import", "-"],
        env=environment({"JOBD_REDIS": server.url}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        running.stdin.write(b'{"jobd_export":1,"id":"a","at":1}\n' + jobs)
        running.stdin.flush()
        wait(redis.dbsize, 60, "the first jobs are in the trash")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(jobs * 3, timeout=60)
    assert (running.returncode, said) == (130, b"jobctl: interrupted; nothing was imported\n")
    assert redis.dbsize() == 0


def test_the_rest_of_an_import_that_is_interrupted_is_brought_back_by_what_it_says(
    server: EmbeddedServer, api: Api, jobctl: Jobctl, redis: redis_py.Redis, tmp_path: Path
) -> None:
    fill(api, dead=20_000, queued=300)
    before = everything(redis)
    jobctl("export", "dead", "queue:mail", "-o", "jobs.jsonl")
    redis.flushall()
    with subprocess.Popen(
        [sys.executable, "-m", "jobctl", "import", "jobs.jsonl"],
        cwd=tmp_path,
        env=environment({"JOBD_REDIS": server.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        wait(lambda: api.dead.size, 60, "the first jobs are back")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    done = api.dead.size + api.queue("mail").size
    assert said.startswith(f"jobctl: interrupted. Imported {done:,} jobs. The others are in ")
    assert "the same command" not in said  # which is refused
    commands = re.findall(r"jobctl (trash restore \S+?)(?=;|\s)", said)
    assert commands
    for command in commands:
        assert jobctl(*command.split()).returncode == 0
    assert everything(redis) == before
    assert jobctl("import", "jobs.jsonl").returncode == 1


def test_an_import_for_which_redis_has_no_room_leaves_nothing(
    jobctl: Jobctl, api: Api, tmp_path: Path
) -> None:
    lines = [
        {"jobd_export": 1, "id": "a", "at": 1},
        *({"place": "queue:mail", "payload": str(n) * 1_000_000} for n in range(9)),
        {"end": 9},
    ]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    api.redis.config_set("maxmemory", int(api.redis.info("memory")["used_memory"]) + 4_000_000)
    try:
        done = jobctl("import", "jobs.jsonl")
    finally:
        api.redis.config_set("maxmemory", 0)
    assert done.returncode == 8
    assert "; nothing was imported\n" in done.stderr
    assert api.redis.dbsize() == 0


def test_an_export_that_breaks_off_says_that_the_file_is_not_whole(
    jobctl: Jobctl, api: Api, tmp_path: Path
) -> None:
    fill(api, dead=250)
    api.redis.set("queue:broken", "no list")
    done = jobctl("export", "dead", "queue:broken", "-o", "jobs.jsonl")
    assert done.returncode == 8
    assert "the file is not complete, and jobctl import refuses it" in done.stderr
    assert jobctl("import", "jobs.jsonl").returncode == 2
    nowhere = jobctl("export", "dead", "-o", "missing/jobs.jsonl")
    assert nowhere.stderr == "jobctl: cannot create missing/jobs.jsonl: No such file or directory\n"


def test_a_unique_job_that_another_one_keeps_out_stays_in_the_trash(
    jobctl: Jobctl, api: Api, redis: redis_py.Redis
) -> None:
    from jobd import Client

    client = Client(redis=redis)
    unique = {"class": "Mail", "args": [1], "queue": "mail", "unique_for": 600}
    assert client.push(unique)
    assert client.push({"class": "Mail", "args": [2], "queue": "mail"})
    jobctl("export", "all", "-o", "jobs.jsonl")
    redis.flushall()
    assert client.push(unique)
    done = jobctl("import", "jobs.jsonl")
    assert "Imported 1 job." in done.stdout
    assert "1 job stays in the trash" in done.stdout
    assert redis.llen("queue:mail") == 2
    assert [left.jobs for left in api.trash.page()] == [1]


# -- figures ---------------------------------------------------------------------------------------


@pytest.mark.minutes
@pytest.mark.timeout(600)
def test_a_million_jobs_are_no_reason_to_wait(
    server: EmbeddedServer, api: Api, redis: redis_py.Redis
) -> None:
    """Lists show something within 300 ms, and `why` answers within 200 ms, beyond what Python needs
    to start; a script keeps Redis for less than 10 ms. Counted is the time of the processor, since
    other tests run meanwhile."""
    for first in range(0, 1_000_000, 5_000):
        raws = [json.dumps(job(number)) for number in range(first, first + 5_000)]
        redis.lpush("queue:mail", *raws)
    redis.sadd("queues", "mail")
    fill(api, dead=100_000)
    redis.zadd("retry", {json.dumps(job(7, jid="retry7")): 2_000_000_000})

    def seconds(*command: str) -> float:
        """Processor time until the first output, the best of some."""
        found = []
        for _ in range(5):
            with subprocess.Popen(
                [sys.executable, "-m", "jobctl", *command],
                env=environment({"JOBD_REDIS": server.url}),
                stdout=subprocess.PIPE,
            ) as running:
                assert running.stdout is not None
                running.stdout.read(1)
                used = psutil.Process(running.pid).cpu_times()
                found.append(used.user + used.system)
                running.stdout.close()
        return min(found)

    start = seconds("queues", "show", "nothing")
    redis.config_resetstat()
    for command in (
        ["dead", "ls"],
        ["dead", "ls", "--class", "Mail"],
        ["queues", "show", "mail"],
        ["queues", "ls"],
        ["stats"],
    ):
        assert seconds(*command) - start < 0.3, command
    for jid in (f"{9_999:024x}", "retry7"):
        assert seconds("why", jid) - start < 0.2, jid
    assert redis.info("commandstats")["cmdstat_evalsha"]["usec_per_call"] < 10_000
