"""How far running jobs have come: known soon, and asked for in bounds."""

from __future__ import annotations

import time

from jobd.api import Api
from jobd.web.shared.progress import AT_ONCE, EVERY, PACE, Progress


def test_iterable_jobs_are_asked_about_first_and_others_in_their_turn(api: Api) -> None:
    def begin(jid: str, times: int) -> None:
        api.redis.hset(api.keys.iteration(jid), mapping={"ex": times, "c": "7", "rt": "1.5"})

    jids, now = [f"j{number}" for number in range(AT_ONCE)], time.monotonic()
    begin("j7", 1)
    progress = Progress()
    assert progress.look(api, jids, now)["j7"].executions == 1
    begin("j7", 2)
    begin("j9", 1)
    assert progress.look(api, jids, now)["j7"].executions == 1, "a moment later nobody is asked"
    now += EVERY
    found = progress.look(api, jids, now)
    assert found["j7"].executions == 2
    for _ in range(AT_ONCE // PACE):
        now += 1
        found = progress.look(api, jids, now)
    assert set(found) == {"j7", "j9"}


def test_no_number_of_pages_asks_more_often(api: Api) -> None:
    def asked() -> int:
        return int(api.redis.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"])

    progress, now = Progress(), time.monotonic()
    pages = [[f"p{page}-{number}" for number in range(100)] for page in range(10)]
    before = asked()
    for second in range(60):
        for jids in pages:
            progress.look(api, jids, now + second)
    assert asked() - before <= AT_ONCE + 60 * PACE


def test_a_job_that_has_ended_is_forgotten(api: Api) -> None:
    key, now, progress = api.keys.iteration("a"), time.monotonic(), Progress()
    api.redis.hset(key, mapping={"ex": 1, "c": "7", "rt": "1.5"})
    assert set(progress.look(api, ["a"], now)) == {"a"}
    api.redis.delete(key)
    assert not progress.look(api, ["a"], now + EVERY)
