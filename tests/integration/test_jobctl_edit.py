"""``jobctl jobs edit``: by options, and in a real editor on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import environment, wait

JID = "a" * 24

APP = """
    import time
    from jobd import job

    @job(queue="mail", retry=0)
    def slow(number):
        while True:
            time.sleep(0.05)
"""


def retry(redis: redis_py.Redis, **fields: Any) -> bytes:
    item = {"class": "shop.mail", "args": [42, "x"], "jid": JID, "queue": "mail", "created_at": 1.5}
    item |= {"retry": True, "retry_count": 1, "error_class": "KeyError", "error_message": "no"}
    raw = json.dumps({**item, **fields}).encode()
    redis.zadd("retry", {raw: time.time() + 999})
    return raw


def jobctl(server: EmbeddedServer, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobctl", "jobs", "edit", *words],
        env=environment({"JOBD_REDIS": server.url, **env}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def queued(redis: redis_py.Redis, queue: str = "mail") -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in redis.lrange(f"queue:{queue}", 0, -1)]


def test_other_arguments(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    raw = retry(redis, kwargs={"loud": True})
    done = jobctl(server, JID, "--args", "[43]", "--kwargs", "{}", "--to", "low", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{JID} is in queue low with the changes" in done.stdout
    assert "jobctl trash restore" in done.stdout
    [job] = queued(redis, "low")
    assert (job["args"], job.get("kwargs", {}), job["queue"]) == ([43], {}, "low")
    assert not redis.exists("retry")
    api = Api(redis)
    [entry] = api.audit.page(5)
    assert entry.action == "edit"
    [deletion] = api.trash.page().entries
    assert deletion.jobs == 1
    assert redis.zrange(f"jobd:trash:{entry.ref}:jobs", 0, -1) == [raw]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--args", "{"), 2, "--args is not JSON"),
        (("--args", "{}"), 2, "the job cannot be changed like that"),
        (("--args", "[" * 5_000), 2, "--args is not JSON"),
        (("--kwargs", "[1]"), 2, "the job cannot be changed like that"),
        (("--to", "a b"), 2, "queue"),
        (("--args", '[42,"x"]'), 1, "nothing was changed"),
        ((), 2, "there is no terminal for an editor"),
    ],
)
def test_what_is_wrong_changes_nothing(
    server: EmbeddedServer, redis: redis_py.Redis, words: tuple[str, ...], code: int, said: str
) -> None:
    raw = retry(redis)
    done = jobctl(server, JID, "--yes", *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert redis.zrange("retry", 0, -1) == [raw]


def test_it_asks(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    assert jobctl(server, JID, "--args", "[1]", "--yes").returncode == 1
    retry(redis)
    done = jobctl(server, JID, "--args", "[1]")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert redis.exists("retry")


def test_a_rehearsal_checks_and_changes_nothing(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    raw = retry(redis)
    done = jobctl(server, JID, "--args", "[43]", "--to", "low", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert 'args: [42,"x"] becomes [43]. queue: "mail" becomes "low".' in done.stdout
    assert "Nothing was changed" in done.stdout
    assert jobctl(server, JID, "--to", "a b", "--dry-run").returncode == 2
    assert redis.zrange("retry", 0, -1) == [raw]
    assert redis.keys() == [b"retry"]


# -- jobs of a queue -------------------------------------------------------------------------------


def waits(redis: redis_py.Redis, jid: str, **fields: Any) -> bytes:
    item = {"class": "shop.mail", "args": [42], "jid": jid, "queue": "mail", "created_at": 1.5}
    raw = json.dumps({**item, "enqueued_at": 2.5, **fields}).encode()
    redis.sadd("queues", "mail")
    redis.lpush("queue:mail", raw)
    return raw


def test_a_job_of_a_queue_keeps_its_place(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    before = [waits(redis, name * 24, custom=[1.50]) for name in "abc"]
    done = jobctl(server, "b" * 24, "--args", "[43]", "--kwargs", '{"loud": true}', "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{'b' * 24} is in queue mail with the changes" in done.stdout
    last, changed, first = redis.lrange("queue:mail", 0, -1)
    assert (first, last) == (before[0], before[2])
    job = json.loads(changed)
    assert (job["args"], job["kwargs"]) == ([43], {"loud": True})
    assert (job["enqueued_at"], job["custom"]) == (2.5, [1.5])
    [entry] = Api(redis).audit.page(5)
    assert (entry.action, entry.target, entry.jobs) == ("edit", "queue:mail", 1)
    # ... and so does the original.
    redis.lpush("queue:mail", b"{}")
    [deletion] = Api(redis).trash.page()
    assert [one.value for one in deletion.page()] == [before[1]]
    assert Api(redis).acting_as("bob").trash[deletion.ref].restore() == 1
    assert redis.lrange("queue:mail", 0, -1) == [b"{}", *reversed(before)]
    assert not Api(redis).trash.page().entries


def test_a_job_of_a_queue_goes_to_another_one(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    before = [waits(redis, name * 24) for name in "abc"]
    redis.lpush("queue:low", b"{}")
    done = jobctl(server, "b" * 24, "--to", "low", "--queue", "mail", "--yes")
    assert done.returncode == 0, done.stderr
    assert redis.lrange("queue:mail", 0, -1) == [before[2], before[0]]
    job, _ = queued(redis, "low")
    assert (job["jid"], job["queue"], job["args"]) == ("b" * 24, "low", [42])
    assert redis.sismember("queues", "low")
    [deletion] = Api(redis).trash.page()
    assert Api(redis).acting_as("bob").trash[deletion.ref].restore() == 1
    assert redis.lrange("queue:low", 0, -1) == [b"{}"]
    assert redis.lrange("queue:mail", 0, -1) == [before[2], before[0], before[1]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--args", "{"), 2, "--args is not JSON"),
        (("--to", "a b"), 2, "queue"),
        (("--args", "[42]"), 1, "nothing was changed"),
        (("--args", "[1]", "--dry-run"), 0, "args: [42] becomes [1]."),
    ],
)
def test_what_is_wrong_changes_nothing_in_a_queue(
    server: EmbeddedServer, redis: redis_py.Redis, words: tuple[str, ...], code: int, said: str
) -> None:
    raw = waits(redis, JID)
    done = jobctl(server, JID, "--yes", *words)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr
    assert redis.lrange("queue:mail", 0, -1) == [raw]
    assert not redis.exists("jobd:audit", "jobd:trash")


def test_a_job_that_a_worker_has_cannot_be_changed(
    server: EmbeddedServer, redis: redis_py.Redis, daemon: StartDaemon
) -> None:
    daemon(APP, "-q", "mail")
    waits(redis, JID, **{"class": "app.slow"})
    wait(lambda: Api(redis).work.find_work(JID), 30, "it runs")
    done = jobctl(server, JID, "--args", "[1]", "--yes")
    assert done.returncode == 1
    assert (
        f"{JID} cannot be changed: a worker has it; jobctl jobs cancel {JID} ends it" in done.stderr
    )


def test_a_job_that_is_claimed_while_it_is_edited_is_refused(
    server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """The worker comes while the editor is open."""
    before = [waits(redis, name * 24) for name in "abc"]
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import json, os, redis, sys\n"
        "item = json.load(open(sys.argv[1]))\n"
        "json.dump({**item, 'args': [1]}, open(sys.argv[1], 'w'))\n"
        "client = redis.Redis.from_url(os.environ['JOBD_REDIS'])\n"
        "client.lrem('queue:mail', 1, client.lindex('queue:mail', 1))\n"
    )
    code, said = on_a_terminal(server, editor, "b" * 24, b"with these changes?")
    assert code == 1
    assert b"nothing was done" in said
    assert b"a worker has taken it" in said
    assert redis.lrange("queue:mail", 0, -1) == [before[2], before[0]]
    assert not redis.exists("jobd:audit", "jobd:trash")


def test_encrypted_arguments_stay(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    retry(redis, encrypt=True, args=[1, "c2VjcmV0"])
    done = jobctl(server, JID, "--args", "[2]", "--yes")
    assert done.returncode == 0, done.stderr
    assert queued(redis)[0]["args"] == [2, "c2VjcmV0"]


def test_in_an_editor(server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path) -> None:
    """Wrong at first, and then corrected."""
    retry(redis, args=["\x1b[31mred", "é"])
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import json, sys\n"
        "path = sys.argv[1]\n"
        "text = open(path).read().rstrip()\n"
        "if text.endswith('oops'):\n"
        "    text = text[:-4]\n"
        "    item = json.loads(text)\n"
        "    item['args'][1] = 'è'\n"
        "    open(path, 'w').write(json.dumps(item))\n"
        "else:\n"
        "    open(path, 'w').write(text + 'oops')\n"
    )
    code, _ = on_a_terminal(server, editor, JID, b"Edit it again?", b"with these changes?")
    assert code == 0
    assert queued(redis)[0]["args"] == ["\x1b[31mred", "è"]


def on_a_terminal(
    server: EmbeddedServer, editor: Path, jid: str, *questions: bytes
) -> tuple[int, bytes]:
    """Edit the job on a terminal and say yes to these questions; the exit code, and what was said
    in the end."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobctl", "jobs", "edit", jid],
        env=environment(
            {"JOBD_REDIS": server.url, "EDITOR": f"{sys.executable} {editor}", "VISUAL": ""}
        ),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    said = b""
    for question in questions:
        while question not in said:
            said += os.read(master, 4096)
        os.write(master, b"y\n")
    with suppress(OSError):  # the end of a terminal
        while part := os.read(master, 4096):
            said += part
    os.close(master)
    return process.wait(60), said
