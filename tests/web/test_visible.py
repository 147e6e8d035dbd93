"""Characters that act on what is around them, in any text on a page."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from jobd.api import Api
from tests.api.conftest import job, push
from tests.web.site import Site
from tests.web.test_busy import ONE, process

ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u206f]")
TEXTS = ["a\u202egnp.exe\u2067", "a\x00b\x1b[2J", "a\x9b31m\x85\x7f", "a\u2028b\x0bc"]
SENT_BACK = re.compile(r' (?:value|href|data-series)="[^"]*"')

LINK = re.compile(r'href="(/job\?[^"]*)"')


@pytest.mark.parametrize("text", TEXTS)
def test_none_of_them_is_on_a_page(text: str, site: Site, api: Api) -> None:
    fields: dict[str, Any] = {
        "class": text,
        "tags": [text],
        "error_class": text,
        "error_message": text,
        "args": [text],
    }
    push(api, text, job(1, **fields))
    push(api, "other", job(2, queue=text, **fields))
    for part in ("retry", "dead"):
        api.redis.zadd(part, {job(3, queue=text, failed_at=1.0, retry_count=1, **fields): 1e10})
    process(api, ONE, info={"queues": [text], "hostname": text, "tag": text})
    seen = [site.get(path) for path in ("/", "/busy", "/queues", "/retries", "/dead")]
    seen += [site.get("/queue", name=name) for name in (text, "other")]
    seen += [site.get("/dead", q=text), site.get("/retries/groups")]
    links = {unescape(link) for page in seen for link in LINK.findall(page.html)}
    assert len(links) > 1
    for page in [*seen, *map(site.get, links)]:
        assert not ACTING.search(SENT_BACK.sub("", page.html)), page.html
    named = site.client.get("/api/v1/queues"), site.client.get("/api/v1/processes")
    for answer in (*named, site.client.get("/api/v1/sets/dead")):
        assert not ACTING.search(answer.text), answer.text
    assert text in [queue["name"] for queue in named[0].json()["queues"]]
    # What is sent back is the name itself.
    site.press(site.get("/queue", name=text), "Pause")
    assert api.queue(text).paused


def test_a_page_with_long_names_is_short(site: Site, api: Api) -> None:
    text = "\u202e<" * 500_000
    process(api, ONE, info={"hostname": text, "tag": text, "queues": [text]})
    api.redis.zadd("dead", {job(3, text, text, jid=text, error_class=text, tags=[text]): 1.0})
    for path in ("/", "/busy", "/dead", "/dead/groups"):
        assert len(site.get(path).html) < 100_000, path
