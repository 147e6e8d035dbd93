"""Finding a job by its id, from any page."""

from __future__ import annotations

import json

import pytest

from jobd.api import Api
from jobd.web.pages import find
from tests.api.conftest import NOW, job, push
from tests.api.test_processes import WORK
from tests.web.site import Site
from tests.web.test_busy import NASTY, ONE, process

JID = f"{4711:024x}"


def test_the_field_on_every_page_leads_to_the_job(site: Site, api: Api) -> None:
    assert any(form.action == "/find" for form in site.get("/").forms)
    assert "what the push returned" in site.get("/find").text
    api.redis.zadd(api.keys.dead, {job(4711, "Charge"): NOW})
    page = site.get("/find", jid=f" {JID} ")
    assert page.response.url.path == "/job"
    assert "Charge" in page.text
    assert "dead" in page.text


def test_in_a_queue_and_in_a_thread(site: Site, api: Api) -> None:
    push(api, "low", job(1), job(4711, "Charge"))
    assert "in queue low" in site.get("/find", jid=JID).text
    process(api, ONE)
    work = json.dumps({**WORK, "payload": job(4711, "Charge").decode()})
    api.redis.hset(api.keys.work(ONE), "t", work)
    assert "running" in site.get("/find", jid=JID).text


def test_what_is_nowhere(site: Site) -> None:
    page = site.look("/find", jid=NASTY)
    assert page.status == 404
    assert "<script>window" not in page.html
    assert "leaves nothing in Redis" in page.text
    assert site.look("/find", jid="a", cursor="x@retry").status == 400


def test_a_long_search_goes_on_from_page_to_page(
    site: Site, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "FIRST", 0.0)
    monkeypatch.setattr(find, "NEXT", 0.0)
    push(api, "a", *(job(n) for n in range(200)))
    push(api, "b", job(4711, "Charge"))
    page, pages = site.get("/find", jid=JID), 1
    while page.response.url.path == "/find":
        assert any("data-continue" in given for _, given in page.tags), "it goes on by itself"
        page = site.get(page.links["Search on"])
        pages += 1
    assert "Charge" in page.text
    assert 5 < pages < 50
