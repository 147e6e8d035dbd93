"""Busy: hosts, processes and what they run; quieting and stopping them; and its limits."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from jobd.api import Api
from jobd.web import Role
from tests.api.conftest import HOSTILE, job
from tests.api.test_processes import beat
from tests.web.site import Page, Site, as_role

ONE, TWO = "web1:7:aa", "web2:8:bb"
NASTY = '<script>window.hit = "alert"</script>'


def process(api: Api, identity: str, **facts: Any) -> None:
    """A process that beats."""
    host, pid, _ = identity.split(":")
    info = {
        "hostname": host,
        "pid": int(pid),
        "tag": "shop",
        "labels": ["blue"],
        "version": "jobd 0.1.0",
        "implementation": "jobd",
        "embedded": False,
        "started_at": time.time() - 7200,
        "capsules": {"default": {"weights": {"mail": 3, "default": 1}}},
        **facts.pop("info", {}),
    }
    beating = {"concurrency": 5, "busy": 0, "beat": repr(time.time()), "quiet": "false"}
    beat(api, identity, info, **{**beating, "rss": 2048, "rtt_us": 300, **facts})


def run(api: Api, identity: str, *raws: bytes, queue: str = "mail", since: float = 60) -> None:
    """Jobs that run in a process."""
    works: dict[Any, Any] = {
        f"t{number}": json.dumps(
            {
                "queue": queue,
                "payload": raw.decode(errors="replace"),
                "run_at": int(time.time() - since),
            }
        )
        for number, raw in enumerate(raws)
    }
    api.redis.hset(api.keys.work(identity), mapping=works)
    api.redis.hset(api.keys.process(identity), "busy", len(raws))


def signals(api: Api, identity: str) -> list[bytes]:
    found: Any = api.redis.lrange(api.keys.signals(identity), 0, -1)
    return list(found)


def shown(page: Page) -> list[str]:
    """The classes of the jobs on a page, in their order."""
    return [text for text, address in page.links.items() if address.startswith("/job?")]


def test_what_is_said_before_a_stop_fits_the_kind_of_process(site: Site, api: Api) -> None:
    process(api, ONE)
    process(api, TWO, info={"implementation": None})
    for do, of_jobd, of_sidekiq in (
        ("quiet", "jobctl resume", "A Sidekiq stays quiet until it is restarted."),
        ("stop", "jobctl stop", "A Sidekiq stays stopped."),
    ):
        for identity, ours, theirs in ((ONE, True, False), (TWO, False, True), ("all", True, True)):
            text = site.get("/busy/ask", do=do, identity=identity).text
            assert (of_jobd in text, of_sidekiq in text) == (ours, theirs), identity


def test_nobody_works(site: Site) -> None:
    page = site.get("/busy")
    assert "No worker process runs" in page.text
    assert "jobd start" in page.text
    assert "Quiet all" not in page.links, "there is nobody to quiet"


def test_hosts_processes_and_the_jobs_of_their_threads(site: Site, api: Api) -> None:
    process(api, ONE)
    process(api, TWO, quiet="true", info={"version": "8.1.7", "implementation": None})
    api.redis.set(api.keys.leader, TWO)
    run(api, ONE, job(1, "Mail", tags=["vip"]), job(2, "Report"), since=72)
    page = site.get("/busy")
    for words in (
        *("2 Processes", "10 Threads", "2 Running jobs", "20 % Utilisation", "4.0 MB Memory"),
        *("web1", "web2", "shop", ONE, "blue", "jobd 0.1.0", "Sidekiq 8.1.7"),
        *("queues mail ×3, default", "2 of 5 threads busy", "2.0 MB", "Redis in 0.30 ms"),
        *("Mail", "vip", "Report", "1 min 1", "3 threads wait for work"),
        *("quiet", "leader", "started 2 h ago"),
    ):
        assert words in page.text, words
    assert page.links["Mail"] == f"/job?set=work&key={1:024x}"


def test_lists_of_jobs_and_of_processes(site: Site, api: Api) -> None:
    process(api, ONE, busy=150, concurrency=150)
    run(api, ONE, *(job(n, f"Job{n}") for n in range(150)))
    process(api, TWO)
    run(api, TWO, job(500, "Oldest"), since=900)
    page = site.get("/busy", only="jobs")
    assert shown(page)[0] == "Oldest", "the longest running first"
    assert "1–100 of 151" in page.text
    rest = site.get(page.links["Next →"])
    assert "101–151 of 151" in rest.text
    assert set(shown(page) + shown(rest)) == {"Oldest", *(f"Job{n}" for n in range(150))}
    assert shown(site.get("/busy", process=TWO)) == ["Oldest"]
    processes = site.get("/busy", only="processes")
    assert "mail ×3, default 150 150 2.0 MB" in processes.text
    assert shown(processes) == []
    nested = site.get("/busy")
    assert "130 more jobs" in nested.text
    assert len(shown(nested)) == 21


def test_two_hundred_processes_are_closed_until_somebody_opens_a_host(site: Site, api: Api) -> None:
    for host in range(4):
        for number in range(50):
            process(api, f"web{host}:{number}:x", busy=3)
            run(api, f"web{host}:{number}:x", *(job(host * 1000 + n) for n in range(3)))
    page = site.get("/busy")
    assert "200 Processes" in page.text
    assert "50 processes · 150 of 250 threads busy" in page.text
    assert "web0:0:x" not in page.text
    assert len(page.html) < 30_000
    opened = site.get(page.links["▸ web2"])
    assert "web2:0:x" in opened.text
    assert "web1:0:x" not in opened.text
    assert "1–20 of 50" in opened.text
    assert "21–40 of 50" in site.get(opened.links["Next →"]).text


def test_many_pages_cost_few_commands(site: Site, api: Api) -> None:
    for number in range(200):
        process(api, f"web1:{number}:x")
    site.get("/busy")
    before = api.redis.info("stats")["total_commands_processed"]
    for _ in range(50):
        site.get("/busy")
    after = api.redis.info("stats")["total_commands_processed"]
    assert after - before < 1000, "what was read is shared"


def test_searching_what_runs(site: Site, api: Api) -> None:
    process(api, ONE)
    process(api, TWO, info={"tag": "billing"})
    run(api, ONE, job(1, "Mail"), job(2, "Report"))
    run(api, TWO, job(3, "Charge"))
    assert shown(site.get("/busy", q="mail", only="jobs")) == ["Mail", "Report", "Charge"], (
        "their processes serve a queue of that name"
    )
    found = site.get("/busy", q="report")
    assert shown(found) == ["Report"]
    assert shown(site.get("/busy", q="BILLING")) == ["Charge"]
    assert shown(site.get("/busy", q=f"{3:024x}")) == ["Charge"]
    assert "No running job or process matches" in site.get("/busy", q="<nothing>").text


def test_progress_of_iterable_jobs(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "Import"))
    state: dict[Any, Any] = {"ex": 3, "rt": "62.5", "c": '["row",4711]'}
    api.redis.hset(api.keys.iteration(f"{1:024x}"), mapping=state)
    assert "started 3×, 1 min 2 s in earlier runs, at ['row', 4711]" in site.get("/busy").text


def test_quieting_one_process(site: Site, api: Api) -> None:
    process(api, ONE)
    page = site.press(site.get("/busy"), "Quiet", ("identity", ONE))
    assert "has been told to take no new jobs" in page.text
    assert signals(api, ONE) == [b"TSTP"]
    assert [(entry.who, entry.action) for entry in api.audit] == [("admin", "quiet")]


def test_stopping_asks_first(site: Site, api: Api) -> None:
    process(api, ONE)
    question = site.get(site.get("/busy").links["Stop"])
    assert f"Stop process {ONE}?" in question.text
    assert "starts a new one at once" in question.text
    assert signals(api, ONE) == []
    assert "stops when its jobs end" in site.press(question, "Stop").text
    assert signals(api, ONE) == [b"TERM"]


@pytest.mark.parametrize(
    ("link", "button", "signal"), [("Quiet all", "Quiet", b"TSTP"), ("Stop all", "Stop", b"TERM")]
)
def test_all_at_once(site: Site, api: Api, link: str, button: str, signal: bytes) -> None:
    process(api, ONE)
    process(api, TWO)
    process(api, "web3:9:cc", info={"embedded": True})
    question = site.get(site.get("/busy").links[link])
    assert "all 2 processes?" in question.text
    assert "2 processes" in site.press(question, button).text
    assert signals(api, ONE) == signals(api, TWO) == [signal]
    assert signals(api, "web3:9:cc") == []


def test_an_embedded_process_has_no_buttons(site: Site, api: Api) -> None:
    process(api, ONE, info={"embedded": True})
    page = site.get("/busy")
    assert "embedded" in page.text
    assert not page.has_button("Quiet")
    refused = site.look("/busy/ask", do="stop", identity=ONE)
    assert (refused.status, "another program" in refused.text) == (400, True)


def test_what_each_role_may_do(api: Api) -> None:
    process(api, ONE)
    viewer, operator = as_role(api, Role.VIEWER), as_role(api, Role.OPERATOR)
    page = viewer.get("/busy")
    assert not page.has_button("Quiet")
    assert not page.has_button("Stacks")
    assert "Stop" not in page.links
    page = operator.get("/busy")
    assert page.has_button("Quiet")
    assert page.has_button("Stacks")
    assert "Stop" not in page.links
    for site, do, status in (
        *((operator, "stop", 403), (operator, "quiet", 200), (operator, "explode", 400)),
        *((viewer, "dump", 403), (viewer, "quiet", 403)),
    ):
        answer = site.insist("/busy/do", ("do", do), ("identity", ONE))
        assert answer.status == status, do
        if status == 403:
            assert "this needs the role" in answer.text
    assert operator.look("/busy/ask", do="stop", identity="all").status == 403
    assert signals(api, ONE) == [b"TSTP"]


def test_a_process_that_has_gone(site: Site, api: Api) -> None:
    process(api, ONE)
    page = site.get("/busy")
    api.redis.delete(api.keys.process(ONE))
    gone = site.press(page, "Quiet", ("identity", ONE))
    assert gone.status == 404
    assert "no process" in gone.text


def test_there_is_nobody_to_stop(site: Site) -> None:
    assert site.look("/busy/ask", do="stop", identity="all").status == 404


def test_whatever_is_in_redis(site: Site, api: Api) -> None:
    info = {"tag": NASTY * 50, "labels": [NASTY], "hostname": NASTY, "version": NASTY}
    weights = {f"{NASTY}{number}": number for number in range(3000)}
    process(api, ONE, info={**info, "capsules": {"a": {"weights": weights}}}, busy="many")
    run(api, ONE, *HOSTILE, job(1, NASTY, tags=[NASTY] * 50), queue=NASTY)
    for number, raw in enumerate(HOSTILE):
        beat(api, f"odd:{number}:x", raw, concurrency="x", beat="1e400", rss="-5", rtt_us="x")
    for query in ({}, {"only": "jobs"}, {"only": "processes"}, {"q": NASTY}, {"host": NASTY}):
        page = site.get("/busy", **query)
        assert "<script>window" not in page.html
        assert len(page.html) < 200_000
    for start in ("-1", "x", "9" * 30):
        assert site.look("/busy", only="jobs", start=start).status in (200, 400)


def test_processes_are_compared_by_any_column(site: Site, api: Api) -> None:
    ruby = {"implementation": None, "version": "8.1.2", "started_at": time.time() - 9}
    process(api, ONE, rss=1000, concurrency=9)
    process(api, TWO, rss=9000, busy=3, info=ruby)
    for sort, first in (
        *(("process", ONE), ("memory", TWO), ("threads", ONE), ("busy", TWO), ("started", ONE)),
        *(("version", TWO), ("queues", ONE), ("x", ONE)),
    ):
        page = site.get("/busy", only="processes", sort=sort)
        assert next(text for text in page.links if text in (ONE, TWO)) == first, sort
    assert page.links["Memory"] == "/busy?only=processes&sort=memory"
    assert "Sidekiq 8.1.2" in page.text


def test_a_running_job_has_its_id_and_links_at_its_tags(site: Site, api: Api) -> None:
    process(api, ONE)
    process(api, TWO)
    run(api, ONE, job(1, "shop.Charge", tags=["vip"]), job(2, "shop.Mail"))
    page = site.get("/busy")
    assert f"{1:024x}" in page.text
    assert shown(site.get(page.links["vip"])) == ["shop.Charge"]
