"""A record reads what wire-format.md says is there, whoever wrote it, and never fails."""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import Any

import pytest

from jobd.api import Api, JobRecord
from tests.api.conftest import HOSTILE, NOW, PLAIN, push

PUBLIC = [name for name in vars(JobRecord) if not name.startswith("_")]


def test_a_plain_job() -> None:
    record = JobRecord(PLAIN)
    assert not record.malformed
    assert (record.klass, record.display_class, record.queue) == ("Ok", "Ok", "default")
    assert (record.args, record.kwargs, record.display_args) == ([1, "two"], {}, [1, "two"])
    assert record.jid == "1befef82961e0772dce5ae4d"
    assert (record.created_at, record.enqueued_at) == (1795416072.920344, 1795416090.5)
    assert record.waited(NOW) == 9.5
    assert record["retry"] is True
    assert record["missing"] is None
    assert (record.bid, record.tags, record.retry_count) == ("", (), None)
    assert JobRecord(PLAIN, "other").queue == "other"
    assert JobRecord(PLAIN) == JobRecord(PLAIN) != JobRecord(PLAIN, "other")


def test_both_units_of_time() -> None:
    record = JobRecord(b'{"failed_at":1795416072500,"retried_at":1795416072.5}')
    assert record.failed_at == record.retried_at == 1795416072.5


def test_every_form_of_backtrace() -> None:
    lines = ["app.rb:1:in `perform'", "x"]
    packed = base64.b64encode(zlib.compress(json.dumps(lines).encode()))
    for wrapped in (packed, packed[:20] + b"\n" + packed[20:] + b"\n"):
        record = JobRecord(json.dumps({"error_backtrace": wrapped.decode()}).encode())
        assert record.error_backtrace == lines
    assert JobRecord(b'{"error_backtrace":"?"}').error_backtrace == []
    assert JobRecord('{"error_backtrace":"é"}'.encode()).error_backtrace == []
    assert JobRecord(b'{"error_backtrace":["a",{}]}').error_backtrace == ["a", "{}"]


def test_a_backtrace_that_unpacks_to_gigabytes_is_cut() -> None:
    lines = [f"app.py:{n}:in 'f'" for n in range(3_000_000)]
    packed = base64.b64encode(zlib.compress(json.dumps(lines).encode(), 9)).decode()
    record = JobRecord(json.dumps({"error_backtrace": packed}).encode())
    assert lines[: len(record.error_backtrace)] == record.error_backtrace
    assert 30_000 < len(record.error_backtrace) < 60_000


def test_active_job_is_unwrapped() -> None:
    arguments = [
        {"_aj_globalid": "gid://shop/User/7"},
        {"_aj_serialized": "ActiveJob::Serializers::SymbolSerializer", "value": "loud"},
        {"deep": [1], "_aj_symbol_keys": ["deep"]},
    ]
    item = {
        "class": "Sidekiq::ActiveJob::Wrapper",
        "wrapped": "Invoice",
        "args": [{"job_class": "Invoice", "arguments": arguments}],
    }
    record = JobRecord(json.dumps(item).encode())
    assert record.display_class == "Invoice"
    assert record.display_args == ["gid://shop/User/7", "loud", {"deep": [1]}]
    item["class"] = "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"
    del item["wrapped"]
    assert JobRecord(json.dumps(item).encode()).display_class == "Invoice"


def test_a_mail_is_named_by_mailer_and_method() -> None:
    words = ["UserMailer", "welcome", "deliver_now"]
    item = {
        "class": "Sidekiq::ActiveJob::Wrapper",
        "wrapped": "ActionMailer::MailDeliveryJob",
        "args": [{"arguments": [*words, {"args": [7], "params": {"a": 1}}]}],
    }
    record = JobRecord(json.dumps(item).encode())
    assert record.display_class == "UserMailer#welcome"
    assert record.display_args == [{"a": 1}, [7]]


@pytest.mark.parametrize(
    "fields",
    [
        {"class": "A", "args": "SECRET", "kwargs": {"pin": "SECRET"}},
        {"class": "", "args": ["SECRET"]},
        {"args": [1, "SECRET"], "kwargs": ["SECRET"]},
        {"class": "A", "args": {"SECRET": "SECRET"}},
        {"class": "Sidekiq::ActiveJob::Wrapper", "args": [{"arguments": ["SECRET", "SECRET"]}]},
        {
            "class": "Sidekiq::ActiveJob::Wrapper",
            "wrapped": "ActionMailer::MailDeliveryJob",
            "args": [{"arguments": ["M", "m", "now", {"args": ["SECRET"]}]}],
        },
    ],
)
@pytest.mark.parametrize("encrypt", [True, 1, "yes"])
def test_whatever_is_wrong_with_it_no_secret_is_shown(
    fields: dict[str, Any], encrypt: object
) -> None:
    record = JobRecord(json.dumps({**fields, "encrypt": encrypt, "jid": "ab"}).encode())
    shown = repr((record.display_args, record.display_kwargs, record.display_raw))
    assert "SECRET" not in shown
    assert "[encrypted data]" in repr(record.display_args)
    assert '"jid":"ab"' in record.display_raw


def test_what_is_encrypted_is_not_shown() -> None:
    record = JobRecord(b'{"class":"A","args":[1,"secret"],"kwargs":{"k":"secret"},"encrypt":true}')
    assert record.display_args == [1, "[encrypted data]"]
    assert record.display_kwargs == {"k": "[encrypted data]"}
    assert record.args == [1, "secret"]


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_makes_a_record_fail(raw: bytes) -> None:
    record = JobRecord(raw, None)
    for name in PUBLIC:
        if name not in ("delete", "iterable_state"):
            getattr(record, name)
    repr(record), repr(record.display_args), repr(record.item)
    assert record.latency >= 0.0
    if record.malformed:
        assert record.display_args == [raw.decode(errors="replace")]


def test_the_state_of_an_iterable_job(api: Api) -> None:
    record = JobRecord(PLAIN, None, api)
    assert record.iterable_state() is None
    key = api.keys.iteration(record.jid)
    api.redis.hset(key, mapping={"ex": 3, "rt": "2.5", "c": '{"id":7}'})
    state = record.iterable_state()
    assert state is not None
    assert (state.executions, state.runtime, state.cursor) == (3, 2.5, {"id": 7})
    assert state.cancelled_at is None
    api.redis.hset(key, mapping={"cancelled": int(NOW), "c": "?"})
    state = record.iterable_state()
    assert state is not None
    assert (state.cancelled_at, state.cursor) == (NOW, None)


def test_latency_is_in_seconds_for_both_units(api: Api) -> None:
    push(api, "default", b'{"enqueued_at":%d}' % int((time.time() - 5) * 1000))
    assert 4 < api.queue("default").latency < 60
    api.redis.delete(api.keys.queue("default"))
    push(api, "default", b'{"enqueued_at":%r}' % (time.time() - 5))
    assert 4 < api.queue("default").latency < 60


def test_what_says_that_it_is_encrypted_and_is_no_job_is_not_shown() -> None:
    record = JobRecord(b'{"class":"A","args":["secret"],"encrypt":true')
    assert record.item == {}
    assert record.display_raw == "[encrypted data]"
