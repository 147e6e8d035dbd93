"""``jobctl workflow``."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from jobctl.cli import jobctl
from jobd.testing import EmbeddedServer
from tests.support.workflows import end, jobs_of, order


@pytest.fixture
def jobs(server: EmbeddedServer, redis: redis_py.Redis) -> Any:
    assert redis.ping()
    return jobs_of(server.url)


def run(server: EmbeddedServer, *arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": ""}).invoke(
        jobctl, ["workflow", *arguments, "--redis", server.url]
    )


def test_the_commands(server: EmbeddedServer, redis: redis_py.Redis, jobs: Any) -> None:
    assert "no workflows" in run(server, "ls").stdout
    ref = order(jobs)
    assert "0/6" in run(server, "ls").stdout
    [one] = [json.loads(line) for line in run(server, "ls", "--json").stdout.splitlines()]
    assert (one["id"], one["state"], one["size"]) == (ref, "running", 6)
    end(redis, "", "failed")
    end(redis, "")
    shown = run(server, "show", ref).stdout
    assert "ValueError: no money" in shown
    assert "order-7: failed" in shown
    assert ref in run(server, "ls", "--state", "failed").stdout
    assert "no workflows" in run(server, "ls", "--state", "done").stdout
    assert "Pushed 1 step again." in run(server, "retry", ref).stdout
    assert "nothing is pushed again" in run(server, "retry", ref).stdout
    end(redis, "")
    rehearsed = run(server, "cancel", ref, "--dry-run").stdout
    assert rehearsed.startswith(f"Workflow {ref}; ")
    assert rehearsed.endswith("Nothing was changed (--dry-run).\n")
    unanswered = run(server, "cancel", ref)
    assert (unanswered.exit_code, "steps are done. Give --yes" in unanswered.output) == (2, True)
    assert f"Workflow {ref} is cancelled." in run(server, "cancel", ref, "--yes").stdout
    assert "cancelled by a user" in run(server, "show", ref).stdout
    end(redis, "")
    assert "ended already" in run(server, "cancel", ref, "--yes").stdout
    told = run(server, "retry", ref)
    assert (told.exit_code, "was cancelled" in str(told.exception)) == (1, True)
    told = run(server, "show", "nowhere")
    assert (told.exit_code, "no workflow nowhere" in str(told.exception)) == (1, True)
    [one] = [json.loads(line) for line in run(server, "show", ref, "--json").stdout.splitlines()]
    assert len(one["steps"]) == 9


@pytest.mark.parametrize("columns", ["", "80"])
def test_errors_are_whole(
    server: EmbeddedServer, redis: redis_py.Redis, jobs: Any, columns: str
) -> None:
    ref = order(jobs)
    message = "no money " * 40 + "at all"
    end(redis, "", "failed", detail=json.dumps({"class": "ValueError", "message": message}))
    runner = CliRunner(env={"COLUMNS": columns})
    shown = runner.invoke(jobctl, ["workflow", "show", ref, "--redis", server.url]).stdout
    assert f"ValueError: {message}\n" in shown


def test_actions_as_json(server: EmbeddedServer, redis: redis_py.Redis, jobs: Any) -> None:
    ref = order(jobs)
    end(redis, "", "failed")
    for action, changed in (("retry", 1), ("cancel", 1), ("cancel", 0)):
        arguments = [action, ref, "--json", *(["--yes"] if action == "cancel" else [])]
        told = run(server, *arguments).stdout
        assert json.loads(told) == {"changed": changed, "dry_run": False, "ref": ""}
