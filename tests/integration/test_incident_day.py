"""The incident day of docs/operations.md: every command of its table, as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobd
from jobd.api import Api
from jobd.api.inflight import InFlightSet
from jobd.errors import UnavailableError
from jobd.testing import EmbeddedServer
from tests.support.daemon import Daemon, environment, wait

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"

APP = """
    import os, signal, time
    from jobd import job

    @job(queue="mail", name="shop.mail")
    def mail(order): ...

    @job(queue="mail", name="shop.crash")
    def crash(order): signal.raise_signal(signal.SIGSEGV)  # in this thread, at once

    @job(queue="reports", name="shop.report", retry=0)
    def report(order):
        while True:
            time.sleep(0.05)

    @job(queue="orders", name="shop.bill", retry=0)
    def bill(order, customer):
        raise KeyError(customer)
"""


def commands() -> list[str]:
    """Those of the table, in their order."""
    [day] = re.findall(r"## An incident day\n(.*?)\n## ", PAGE.read_text(), re.DOTALL)
    return re.findall(r"^\| [^|]*\| `(jobctl [^`]+)` \|", day, re.MULTILINE)


class Day:
    """Somebody at the host of the daemon."""

    def __init__(self, daemon: Daemon, url: str) -> None:
        self._daemon, self._url = daemon, url
        self.left = commands()

    def does(self, line: str, jid: str = "", *, code: int | None = 0, answer: str = "") -> str:
        """The next command of the table, which is that one; what it says.

        Args:
            jid: stands for the id in it.
            code: that it ends with; None for any.
            answer: what has to be added where nobody can be asked.
        """
        told = self.left.pop(0)
        assert told == f"jobctl {line}"
        words = shlex.split(re.sub(r"[0-9a-f]{24}", jid, told) + answer)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "jobctl", *words],
            cwd=self._daemon.directory,
            env=environment({"JOBD_REDIS": self._url, "JOBD_PIDFILE": str(self._daemon.pidfile)}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert code in (None, done.returncode), (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


def push(url: str, name: str, queue: str, *args: object) -> str:
    client = jobd.Client(url)
    return str(client.push({"class": name, "queue": queue, "args": list(args), "retry": 0}))


def fill(api: Api) -> int:
    """With 10 MB of jobs that died 40 days ago, so that nothing more can be pushed; the limit."""
    died = time.time() - 40 * 86400
    job = {"class": "shop.mail", "args": ["x" * 1000], "retry": 0, "failed_at": died}
    api.redis.zadd("dead", {json.dumps({**job, "jid": f"{n:024x}"}): died for n in range(10_000)})
    limit = int(api.redis.info("memory")["used_memory"]) - 5_000_000
    api.redis.config_set("maxmemory", limit)
    return limit


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """One of its own, which goes away."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def daemon(tmp_path: Path, server: EmbeddedServer) -> Iterator[Daemon]:
    made = Daemon(tmp_path, server.url)
    made.write_app(APP)
    made.run("-q", "reports", "-q", "orders", "-q", "mail", "-w", "1", "-c", "2")
    try:
        yield made.wait_ready()
    finally:
        made.stop()


def test_every_command_does_what_the_table_says(daemon: Daemon, server: EmbeddedServer) -> None:
    url, api = server.url, Api(server.url)
    day = Day(daemon, url)

    # One job is to be found; another one is stuck.
    bill = push(url, "shop.bill", "orders", 4711, "carol")
    wait(lambda: api.dead.size == 1, 60, "it has failed for good")
    stuck = push(url, "shop.report", "reports", 4711)
    wait(lambda: api.work.find_work(stuck), 60, "it runs")
    assert " checks: " in day.does("doctor", code=None)  # a slow machine is a warning
    found = day.does("jobs find --arg 4711")
    assert bill in found
    assert stuck in found
    assert "KeyError" in day.does("why 641ba00376272d2c0e269b59", bill)
    assert f"shop.report {stuck}" in day.does("threads --busy")
    day.does("jobs cancel 641ba00376272d2c0e269b59", stuck, answer=" --yes")
    wait(lambda: api.work.find_work(stuck) is None, 60, "it has ended")

    # A job that kills its worker.
    for number in range(20):
        push(url, "shop.crash", "mail", number)
    wait(lambda: '"crash_loop"' in daemon.log(), 150, "workers have crashed again and again")
    assert "shop.crash" in day.does("status")
    assert "Queue mail is paused" in day.does("queues pause mail")
    claims = InFlightSet(api)
    wait(lambda: not any(claims.of_all_owners()), 60, "what has crashed is in its queue again")
    for number in range(3):
        push(url, "shop.crash", "mail", number)
        push(url, "shop.mail", "mail", number)
    assert "Deleted" in day.does("queues clear mail --class shop.crash", answer=" --yes")
    assert {one.klass for one in api.queue("mail").page()} == {"shop.mail"}
    api.queue("mail").unpause()
    wait(lambda: api.queue("mail").size == 0, 60, "the others run")
    for crashed in [one for one in api.dead.page(0, 50) if one.klass == "shop.crash"]:
        assert crashed.delete(), "it has crashed three times"

    # Redis is away; then it is full of old jobs.
    server.stop()
    assert "does not answer" in day.does("doctor", code=1)
    server.start()
    wait(lambda: "redis_back" in daemon.log(), 60, "it is back")
    limit = fill(api)
    with pytest.raises(UnavailableError, match="maxmemory"):
        push(url, "shop.mail", "mail", 1)
    assert "schedule, retry, dead" in day.does("redis")
    assert "Deleted 10,000 jobs" in day.does("dead delete --older 30d", answer=" --yes")
    assert "Deleted 10,0" in day.does("trash empty", answer=" --yes")
    wait(lambda: api.redis.info("memory")["used_memory"] < limit, 60, "it has room")
    push(url, "shop.mail", "mail", 2)
    api.redis.config_set("maxmemory", 0)

    # A deploy of broken code.
    daemon.write_app(f"{APP}\n    import nothing_like_that\n")
    assert "No module named" in day.does("reload --wait", code=1)
    daemon.write_app(APP)
    assert "Put into their queues: 1 job" in day.does("dead retry --newer 2h")
    wait(lambda: api.dead.size == 1, 60, "it has run again")

    # A backlog.
    api.queue("mail").pause()
    client = jobd.Client(url)
    client.push_bulk({"class": "shop.mail", "queue": "mail", "args": [[n] for n in range(2_000)]})
    assert "2,000" in day.does("queues ls")
    api.queue("mail").unpause()
    assert "threads" in day.does("tune")
    assert "-> 4 workers" in day.does("scale 4")
    assert "queue:mail" in day.does("audit")
    assert day.left == []
