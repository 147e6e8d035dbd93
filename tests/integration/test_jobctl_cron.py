"""``jobctl cron``."""

from __future__ import annotations

import json

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from jobctl.cli import jobctl
from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.api.test_periodic import store


@pytest.fixture
def api(server: EmbeddedServer, redis: redis_py.Redis) -> Api:
    api = Api(redis)
    store(api, "shop", "report", cron="30 2 * * *", tz="America/New_York")
    return api


def run(server: EmbeddedServer, *arguments: str) -> Result:
    return CliRunner().invoke(jobctl, ["cron", *arguments, "--redis", server.url])


def test_the_commands(server: EmbeddedServer, api: Api) -> None:
    assert "30 2 * * * (America/New_York)" in run(server, "ls").stdout
    [one] = [json.loads(line) for line in run(server, "ls", "--json").stdout.splitlines()]
    assert (one["name"], one["app"], one["paused"]) == ("report", "shop", False)
    assert "report is paused" in run(server, "pause", "report").stdout
    assert "paused already" in run(server, "pause", "report").stdout
    assert "paused" in run(server, "ls").stdout
    assert "goes on" in run(server, "resume", "report").stdout
    jid = run(server, "run", "report").stdout.strip()
    assert api.queue("default").find_job(jid) is not None
    assert jid in run(server, "show", "report").stdout
    assert run(server, "run", "report").exit_code == 1


def test_the_preview_tells_what_the_clocks_do(server: EmbeddedServer, api: Api) -> None:
    told = run(server, "preview", "--days", "366").stdout
    assert "skipped by the clocks" in told
    assert "366" in told
    store(api, "other", "same", cron="30 2 * * *", tz="America/New_York")
    assert "2 at once: " in run(server, "preview").stdout
    again = json.loads(run(server, "preview", "report", "--json").stdout)
    assert len(again["ticks"]) in (13, 14)


def test_one_that_is_not_there(server: EmbeddedServer, api: Api) -> None:
    for command in ("show", "pause", "resume", "run", "preview"):
        result = run(server, command, "none")
        assert result.exit_code == 1, command
