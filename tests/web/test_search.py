"""The search box, without Redis."""

from __future__ import annotations

import json

import pytest

from jobd.api import JobRecord, group_key
from jobd.api.search.glob import matcher
from jobd.web.views.search import parse


def _stored(**fields: object) -> JobRecord:
    made = {"class": "Ok", "args": [], "jid": "ab12", "queue": "default", **fields}
    return JobRecord(json.dumps(made).encode())


def _finds(text: str, job: JobRecord) -> bool:
    search = parse(text)
    assert search
    by_redis = search.match is None or job.matches(matcher(search.match))
    return by_redis and (search.where is None or search.where(job))


MAIL = _stored(
    **{
        "class": "Sidekiq::ActiveJob::Wrapper",
        "wrapped": "ActionMailer::MailDeliveryJob",
        "args": [{"arguments": ["UserMailer", "welcome", "deliver_now", {"args": []}]}],
    }
)
FAILED = _stored(
    error_class="Net::ReadTimeout",
    error_message='cannot read "naïve" file\nC:\\temp\\x, 2*3?',
    tags=["vip", "EU west"],
    args=[42, "ada@example.org", {"größe": "<b>"}],
)


@pytest.mark.parametrize(
    "text",
    [
        "ada@example.org",
        "ADA@EXAMPLE.ORG".lower(),
        "readtimeout",
        "Net::Read",
        "2*3?",
        "*",
        "[42",
        "pattern:Net*Timeout",
        'pattern:"cannot r??d"',
        "pattern:[0-9]2 ada",
        "naïve",
        "NAÏVE".lower(),
        'read "naïve"',
        "C:\\temp",
        "größe",
        "<b>",
        '"jid": "ab12"',
        "[42, ",
        "class:ok",
        "class:O",
        "error:timeout",
        'error:"cannot read"',
        "error:2*3",
        "tag:vip",
        'tag:"eu west"',
        "jid:ab",
        "queue:default",
        "queue:default error:timeout tag:vip ada",
    ],
)
def test_finds(text: str) -> None:
    assert _finds(text, FAILED)


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.org",
        "net::READ",
        "net*timeout",
        "class:O*",
        "error:naïve*temp",
        "tag:v*",
        "jid:*",
        "queue:d*t",
        "2?3",
        "pattern:net*timeout",
        "pattern:Net*Timeout none",
        "class:Timeout",
        "error:Ok",
        "tag:vi",
        "tag:VIP",
        "jid:b12",
        "queue:defaul",
        "error:timeout tag:none",
        "[4-9]2",
        "ad?@",
        "nothing:here",
    ],
)
def test_does_not_find(text: str) -> None:
    assert not _finds(text, FAILED)


@pytest.mark.parametrize("text", ["class:UserMailer#welcome", "UserMailer#welcome", "usermailer"])
def test_a_mail_is_found_by_the_name_that_people_see(text: str) -> None:
    assert _finds(text, MAIL)
    assert not _finds(text.replace("r", "rr"), MAIL)


def test_a_long_text_is_searched_to_its_end() -> None:
    message = "the order could not be charged because the card has expired since"
    job = _stored(error_message=message.title())
    for text in (message, message.title(), f'error:"{message}"'):
        assert _finds(text, job)
        assert not _finds(text.replace("since", "today").replace("Since", "Today"), job)


def test_other_writers_of_json_are_searched_as_well() -> None:
    as_text = JobRecord('{"class":"Ok","args":["naïve \\u003cb\\u003e a\\/b"]}'.encode())
    for text in ("naïve", "<b>", "a/b", "NAÏVE <b> a/b".lower()):
        assert _finds(text, as_text)


def test_only_the_jobs_of_a_group() -> None:
    search = parse("", group_key(FAILED), "Net::ReadTimeout")
    assert search.match == "*Net::ReadTimeout*"
    assert search.where is not None
    assert search.where(FAILED)
    assert not search.where(MAIL)
    assert parse("ada", group_key(FAILED)).match == "*[aA][dD][aA]*"


@pytest.mark.parametrize("text", ["", "   ", 'class:""'])
def test_nothing_to_search_for(text: str) -> None:
    search = parse(text)
    assert search.match is None
    assert search.where is None or search.where(FAILED)


@pytest.mark.parametrize("more", ["", " class:Mail"])
def test_what_is_encrypted_is_not_found(more: str) -> None:
    job = _stored(**{"class": "Mail", "args": ["shown", "SECRET"], "encrypt": True})
    assert _finds("shown" + more, job)
    assert not _finds("secr" + more, job)
    assert not _finds("SECRET" + more, JobRecord(b'{"encrypt":true,"args":["SECRET"], no JSON'))
    assert _finds("SECRET" + more, _stored(**{"class": "Mail", "args": ["SECRET"]}))
