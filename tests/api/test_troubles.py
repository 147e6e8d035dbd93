"""What is wrong with daemons, as dashboards are told."""

from __future__ import annotations

import json
import time

from jobd.api import Api
from jobd.store import scripts


def write(api: Api, daemon: str, text: str, tag: str = "") -> None:
    scripts.TROUBLE(api.redis, [api.keys.troubles], [60, daemon, tag, "1764500000.5", text])


def test_a_trouble_is_told_as_long_as_it_lasts(api: Api) -> None:
    assert api.troubles() == []
    write(api, "b:7", "6 crashes within 60 s", "shop")
    write(api, "a:8", "the reload failed: no module named é")
    first, second = api.troubles()
    assert (first.daemon, first.tag, first.since) == ("a:8", "", 1764500000.5)
    assert first.text == "the reload failed: no module named é"
    assert (second.daemon, second.tag) == ("b:7", "shop")
    write(api, "a:8", "")
    assert api.troubles() == [second]
    write(api, "b:7", "")
    assert api.troubles() == []
    assert not api.redis.exists(api.keys.troubles)


def test_a_daemon_that_died_without_a_word_is_forgotten(api: Api) -> None:
    old = {"at": time.time() - 61, "tag": "", "since": 1.0, "text": "dead"}
    api.redis.hset(
        api.keys.troubles,
        mapping={"old:1": json.dumps(old), "odd:1": "7", "odder:1": "{", "z": "[]"},
    )
    assert api.troubles() == []
    write(api, "new:1", "crash loop")
    assert [one.daemon for one in api.troubles()] == ["new:1"]
    assert api.redis.hkeys(api.keys.troubles) == [b"new:1"]
    assert 50 < api.redis.ttl(api.keys.troubles) <= 60
