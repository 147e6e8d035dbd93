"""``jobctl batch``."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

import jobd
from jobctl.cli import jobctl
from jobctl.codes import Code, Problem
from jobctl.data import bulk
from jobd.features.batches.record import BatchStatus
from jobd.jobs.app import App
from jobd.keeper.batches import BatchWatch
from jobd.keeper.lost import LostWatch, batches
from jobd.runtime.log import log
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from tests.support.workflows import end, jobs_of

BIG: dict[Any, Any] = dict.fromkeys(
    ("total", "done", "dead", "expired", "cancelled", "unconfirmed", "failed"), 10**9
)


def run(server: EmbeddedServer, *arguments: str) -> Result:
    return CliRunner().invoke(jobctl, ["batch", *arguments, "--redis", server.url])


@pytest.fixture
def pushed(server: EmbeddedServer, redis: redis_py.Redis) -> jobd.Batch:
    assert redis.ping()
    app = App()
    app.configure(server.url)
    note: Any = app.job(name="note")(lambda value: value)
    with jobd.Batch("Invoices \x1b[1m", client=app.client) as batch:
        note.perform_bulk([[1], [2], [3]])
    return batch


def test_looking_at_a_batch(
    server: EmbeddedServer, redis: redis_py.Redis, pushed: jobd.Batch
) -> None:
    listed = run(server, "ls").stdout
    assert pushed.bid in listed
    assert "0/3" in listed
    assert "\x1b" not in listed
    shown = run(server, "show", pushed.bid).stdout
    assert "running" in shown
    assert "0 of 3 (0%) have ended" in shown
    assert "\x1b" not in shown
    [one] = [json.loads(line) for line in run(server, "ls", "--json").stdout.splitlines()]
    assert (one["bid"], one["state"], one["pending"]) == (pushed.bid, "running", 3)
    told = run(server, "wait", pushed.bid, "--timeout", "0")
    assert isinstance(told.exception, Problem)
    assert told.exception.code == Code.TIMED_OUT
    assert "3 of 3 jobs are pending" in str(told.exception)
    for command in ("show", "wait", "cancel", "close", "delete", "doctor"):
        told = run(server, command, "0" * 16)
        assert (told.exit_code, "there is no batch" in str(told.exception)) == (1, True), command


def test_callbacks_failures_and_batches_inside_are_shown_in_80_columns(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    jobs = jobs_of(server.url)
    with jobd.Batch("Invoices of May", tags=["a", "b"], client=jobs.client) as batch:
        batch.on_success(jobs.tell)
        batch.on_death("Shop::Invoices::Callbacks::TellTheAccountantThatAnInvoiceIsLost")
        with jobd.Batch("inside", client=jobs.client) as inner:
            jobs.ship.perform_async()
        [jid] = jobs.pack.perform_bulk([[1]])
    before = run(server, "show", batch.bid).stdout
    assert "TellTheAccountantThatAnInvoiceIsLost\n" in before
    assert before.count("waits, job ") == 2
    end(redis, "", "failed", most=3)  # the callback of the first death is one of them
    shown = run(server, "show", batch.bid).stdout
    told = json.loads(run(server, "show", batch.bid, "--json").stdout)
    assert (told["bid"], told["dead"], told["all_inside"]) == (batch.bid, 2, True)
    on_success, on_death = told["callbacks"]
    assert (on_success["event"], on_success["name"], on_success["pushed"]) == (
        "success",
        "shop.tell",
        False,
    )
    assert (on_death["event"], on_death["name"], on_death["pushed"]) == ("death", "", True)
    assert f"on success   shop.tell\n             waits, job {on_success['jid']}\n" in shown
    assert f"on death     pushed, job {on_death['jid']}\n" in shown
    assert [(each["bid"], each["state"]) for each in told["inside"]] == [(inner.bid, "failed")]
    assert told["failures"] == [{"jid": jid, "state": "dead"}]
    assert jid in shown
    assert inner.bid in shown
    redis.hset(f"jobd:batch:{batch.bid}", mapping=BIG)
    most = run(server, "show", batch.bid).stdout
    assert max(map(len, f"{before}{shown}{most}".splitlines())) <= 80


def test_a_batch_is_repaired_and_cancelled(
    server: EmbeddedServer, redis: redis_py.Redis, pushed: jobd.Batch
) -> None:
    assert "nothing is wrong" in run(server, "doctor", pushed.bid).stdout
    redis.hset(f"jobd:batch:{pushed.bid}", "pending", 9)
    redis.rpop("queue:default")
    told = run(server, "doctor", pushed.bid).stdout
    assert "pending is 9, but 3 jobs are" in told
    assert f"job {pushed.bid}00000000 is pending, but nowhere" in told
    assert "repaired" in run(server, "doctor", pushed.bid, "--repair").stdout
    assert pushed.status.unconfirmed == 1
    unanswered = run(server, "cancel", pushed.bid)
    assert (unanswered.exit_code, "2 of its jobs are pending" in unanswered.output) == (2, True)
    assert "2 jobs were taken out" in run(server, "cancel", pushed.bid, "--yes").stdout
    assert "Closed 0 blocks" in run(server, "close", pushed.bid).stdout
    assert pushed.status.ended
    assert run(server, "wait", pushed.bid).exit_code == 0
    unanswered = run(server, "delete", pushed.bid)
    assert (unanswered.exit_code, "Give --yes" in unanswered.output) == (2, True)
    assert "is deleted" in run(server, "delete", pushed.bid, "-y").stdout
    assert run(server, "ls").stdout == "no batches\n"


def test_one_that_is_gone_before_the_answer_is_not_called_deleted(
    server: EmbeddedServer, pushed: jobd.Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm = bulk.confirm

    def answer(*_: object, **__: object) -> None:
        monkeypatch.setattr(bulk, "confirm", confirm)
        assert run(server, "delete", pushed.bid, "--yes").exit_code == 0

    monkeypatch.setattr(bulk, "confirm", answer)
    told = run(server, "delete", pushed.bid, "--yes")
    assert isinstance(told.exception, Problem)
    assert "there is no batch" in str(told.exception)


def test_a_member_that_ruby_has_put_into_the_dead_set_is_named_and_ended(
    server: EmbeddedServer, redis: redis_py.Redis, pushed: jobd.Batch
) -> None:
    raw: Any = redis.rpop("queue:default")
    redis.zadd("dead", {raw: 1.0})
    assert "1 pending job is in the dead set" in run(server, "doctor", pushed.bid).stdout
    assert json.loads(run(server, "doctor", pushed.bid, "--json").stdout)["dead"] == 1
    assert pushed.status.pending == 3
    redis.hset(f"jobd:batch:{pushed.bid}", "pending", 9)
    told = run(server, "doctor", pushed.bid, "--repair").stdout
    assert "repaired" in told
    assert "pending is 9" in told
    assert (pushed.status.pending, pushed.status.dead) == (2, 1)
    assert run(server, "doctor", pushed.bid).stdout == "nothing is wrong\n"


def test_actions_as_json(server: EmbeddedServer, pushed: jobd.Batch) -> None:
    pending = pushed.status.pending
    for action, changed in (("close", 0), ("cancel", pending), ("delete", 1)):
        yes = [] if action == "close" else ["--yes"]
        if yes:
            told = run(server, action, pushed.bid, "--json", "--dry-run").stdout
            assert json.loads(told) == {"changed": changed, "dry_run": True, "ref": ""}
            told = run(server, action, pushed.bid, "--dry-run").stdout
            assert told.startswith(f"Batch {pushed.bid}; {pushed.status.pending} of its jobs are ")
        told = run(server, action, pushed.bid, "--json", *yes).stdout
        assert json.loads(told) == {"changed": changed, "dry_run": False, "ref": ""}


@pytest.mark.parametrize("text", ["--5", "9" * 5_000, "nan", "-inf", "1e300", "", "\x1b[2J"])
def test_a_batch_that_was_changed_by_hand_is_shown(
    server: EmbeddedServer, redis: redis_py.Redis, pushed: jobd.Batch, text: str
) -> None:
    names = (*BatchStatus.__dataclass_fields__, "moves", "expired_in")
    redis.hset(f"jobd:batch:{pushed.bid}", mapping=dict.fromkeys(names, text))
    for command in (["ls"], ["show", pushed.bid], ["doctor", pushed.bid]):
        told = run(server, *command)
        assert told.exit_code == 0, told.exception
        assert "\x1b" not in told.stdout
    keys, to = Keys(""), log.get("jobd.test")
    redis.zadd(keys.batches, {pushed.bid: 1.0})  # long ago
    BatchWatch(redis, keys, to).turn()
    LostWatch(redis, keys, batches(keys), to, list, lambda: True).turn()
    assert pushed.status.bid == pushed.bid
