"""Failures, grouped by what went wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobd.api import Api, JobRecord, in_group
from jobd.api.search import groups
from jobd.wire.transitions import pack_backtrace
from tests.api.conftest import NOW, job
from tests.api.test_sets import fill


def failed(number: int, error: str, message: str = "", lines: list[str] | None = None) -> bytes:
    fields: dict[str, Any] = {"error_class": error, "error_message": message}
    if lines is not None:
        fields["error_backtrace"] = pack_backtrace(lines)
    times: dict[str, Any] = {"failed_at": NOW + number, "retried_at": NOW + 100 + number}
    return job(number, "Mail" if number % 2 else "Bill", **fields, **times)


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["/srv/shop/app.py:7:in 'send'"], "/srv/shop/app.py in send"),
        (["/srv/shop/app.rb:7:in `send'"], "/srv/shop/app.rb in send"),
        (["/srv/app.rb:7:in 'Mail#send'"], "/srv/app.rb in Mail#send"),
        (
            ["/usr/lib/python3.11/ssl.py:1:in 'x'", "/v/site-packages/a/b.py:9:in 'y'", "a.py:1"],
            "a.py",
        ),
        (["/gems/net/http.rb:1:in 'x'"], "/gems/net/http.rb in x"),
        (["what is this"], "what is this"),
        ([], "user #, key #"),
        (None, "user #, key #"),
    ],
)
def test_where_a_job_failed(lines: list[str] | None, place: str) -> None:
    message = "user 42, key deadbeef12-0123abcd\nand more"
    assert groups.place(JobRecord(failed(1, "E", message, lines))) == place


def test_groups_and_acting_on_one(api: Api) -> None:
    line = ["/srv/app.py:{}:in 'send'"]
    raws = [failed(n, "smtplib.Error", f"to {n}", [line[0].format(n)]) for n in range(500)]
    raws += [failed(n, "KeyError", f"no user {n}") for n in range(500, 700)]
    raws += [failed(n, "KeyError", "something else") for n in range(700, 703)]
    fill(api.retries, *raws)
    finding = api.retries.groups()
    assert [group.count for group in finding.run()] == [500, 200, 3]
    assert (finding.done, finding.scanned, finding.other) == (True, 703, 0)
    first, second, third = finding.found
    assert (first.error_class, first.place) == ("smtplib.Error", "/srv/app.py in send")
    assert (first.first_seen, first.last_seen) == (NOW, NOW + 599)
    assert first.classes == {"Bill": 250, "Mail": 250}
    assert len(first.jids) == 5
    assert second.place == "no user #"
    assert third.sample == "something else"
    assert finding[second.key] is second

    assert api.retries.sweep("retry", where=in_group(first.key)).run() == 500
    assert api.retries.sweep("kill", where=in_group(second.key)).run() == 200
    assert api.retries.sweep("delete", where=in_group(third.key)).run() == 3
    assert (api.retries.size, api.dead.size, api.queue("default").size) == (0, 200, 500)


def test_groups_so_far_can_be_shown(api: Api) -> None:
    fill(api.dead, *(failed(n, "E") for n in range(3000)))
    finding = api.dead.groups()
    (group,) = finding.run(seconds=0.0)
    assert not finding.done
    assert 0 < group.count == finding.scanned < 3000
    assert finding.run()[0].count == 3000


def test_too_many_groups_are_only_counted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST_GROUPS", 10)
    fill(api.dead, *(failed(n, f"E{'x' * n}") for n in range(30)))
    finding = api.dead.groups()
    assert len(finding.run()) == 10
    assert finding.other == 20


def test_a_group_has_the_same_key_in_every_process() -> None:
    record = JobRecord(json.dumps({"error_class": "E", "error_message": "no 1"}).encode())
    assert groups.group_key(record) == "088fbc9db1e3d6d4"
