"""``jobctl cron``."""

from __future__ import annotations

import json

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from jobctl.cli import jobctl
from jobctl.codes import Code, Problem
from jobd.api import Api
from jobd.schedules.line import Line
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
    told = run(server, "why", "report").stdout
    assert f"The job {jid} of an earlier tick has not ended" in told
    assert "It is due next at" in told
    [first, *_] = [
        json.loads(line) for line in run(server, "why", "report", "--json").stdout.splitlines()
    ]
    assert first["kind"] == "overlap"


def test_a_line_is_changed_until_the_next_deploy(server: EmbeddedServer, api: Api) -> None:
    told = run(server, "set", "report", "15 * * * *").stdout
    assert "is changed until the next deploy" in told
    assert "due next" in told
    assert api.periodic["report"].line == Line("15 * * * *", "America/New_York")
    assert run(server, "set", "report", "0 6 * * *", "--tz", "Europe/Berlin").exit_code == 0
    assert api.periodic["report"].line.tz == "Europe/Berlin"
    assert run(server, "set", "report", "@every 90s").exit_code == 0
    assert "every 90 s" in run(server, "ls").stdout
    for line, problem in (("61 * * * *", "malformed"), ("0 0 * 2 1#5", "not due within 5 years")):
        refused = run(server, "set", "report", line)
        assert isinstance(refused.exception, Problem)
        assert refused.exception.code == Code.USAGE
        assert problem in str(refused.exception)
    assert "not a time zone" in str(
        run(server, "set", "report", "@daily", "--tz", "Mars").exception
    )
    assert "every 90 s" in run(server, "ls").stdout, "what is refused changes nothing"
    assert "its own line again" in run(server, "reset", "report").stdout
    assert "was not changed" in run(server, "reset", "report").stdout
    assert api.periodic["report"].line.cron == "30 2 * * *"


def test_the_preview_tells_what_the_clocks_do(server: EmbeddedServer, api: Api) -> None:
    told = run(server, "preview", "--days", "366").stdout
    assert "skipped by the clocks" in told
    assert "366" in told
    store(api, "other", "same", cron="30 2 * * *", tz="America/New_York")
    assert "2 at once: " in run(server, "preview").stdout
    again = json.loads(run(server, "preview", "report", "--json").stdout)
    assert len(again["ticks"]) in (13, 14)


def test_one_that_is_not_there(server: EmbeddedServer, api: Api) -> None:
    for command in ("show", "pause", "resume", "run", "preview", "reset", "why", "set"):
        result = run(server, command, "none", *(["@daily"] if command == "set" else []))
        assert result.exit_code == 1, command


def test_whatever_it_does_is_told_as_json_too(server: EmbeddedServer, api: Api) -> None:
    def told(*arguments: str) -> dict[str, object]:
        [line] = run(server, *arguments, "--json").stdout.splitlines()
        found: dict[str, object] = json.loads(line)
        return found

    assert told("pause", "report") == {"changed": 1, "dry_run": False, "ref": ""}
    assert told("pause", "report")["changed"] == 0
    assert told("resume", "report")["changed"] == 1
    assert told("set", "report", "15 * * * *")["changed"] == 1
    assert told("reset", "report")["changed"] == 1
    assert api.queue("default").find_job(str(told("run", "report")["jid"])) is not None
