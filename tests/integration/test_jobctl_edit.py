"""``jobctl jobs edit``: by options, and in a real editor on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.support.daemon import environment

JID = "a" * 24


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


def test_it_asks_and_refuses_what_is_elsewhere(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    assert jobctl(server, JID, "--args", "[1]", "--yes").returncode == 1
    redis.lpush("queue:mail", retry(redis))
    redis.delete("retry")
    redis.sadd("queues", "mail")
    done = jobctl(server, JID, "--args", "[1]", "--yes")
    assert done.returncode == 1
    assert "only a job that is scheduled" in done.stderr
    retry(redis)
    redis.delete("queue:mail")
    done = jobctl(server, JID, "--args", "[1]")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert redis.exists("retry")


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
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobctl", "jobs", "edit", JID],
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
    for question in (b"Edit it again?", b"with these changes?"):
        while question not in said:
            said += os.read(master, 4096)
        os.write(master, b"y\n")
    while b"with the changes" not in said:
        said += os.read(master, 4096)
    assert process.wait(60) == 0
    os.close(master)
    assert queued(redis)[0]["args"] == ["\x1b[31mred", "è"]
