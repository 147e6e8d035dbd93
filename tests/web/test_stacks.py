"""The stacks of processes, shown in the page, as a made-up Redis tells them and as a real daemon
does."""

from __future__ import annotations

import time

import redis as redis_py

from jobd.api import Api
from jobd.web import Role
from tests.conftest import StartDaemon
from tests.support.daemon import wait
from tests.web.site import Page, Site, as_role
from tests.web.test_busy import NASTY, ONE, TWO, process, signals

TEXT = """\
worker.0 web1:7:aa: 1 of 5 threads busy, 1 job in flight

Thread MainThread (0x7fd57999b6c0)
  File "/usr/lib/python3.11/selectors.py", line 468, in select
    fd_event_list = self._selector.poll(timeout, max_ev)

Thread job-3 (0x7fd5799): shop.charge 7f5cf2730e59fb5e70145c6d from default, for 1.3 s
  File "/usr/lib/python3.11/site-packages/requests/api.py", line 59, in get
  File "/srv/shop/payments.py", line 88, in <script>

Waiting for work: job-0, job-1, job-2, job-4

Coroutine task-1: shop.feed 0123456789ab from low, for 0.1 s
  File "/srv/shop/feed.py", line 3, in feed
"""


def tell(api: Api, identity: str, text: str = TEXT) -> None:
    """What a worker does when it is asked."""
    api.redis.hset(api.keys.stacks(identity), mapping={"at": repr(time.time()), "text": text})


def is_refreshing(page: Page) -> bool:
    return any("data-refresh" in given for _, given in page.tags)


def test_asking_waiting_and_the_answer(site: Site, api: Api) -> None:
    process(api, ONE)
    tell(api, ONE, "an older answer")
    page = site.press(site.get("/busy"), "Stacks", ("identity", ONE))
    assert signals(api, ONE) == [b"TTIN"]
    assert "Waiting for 1 process," in page.text
    assert is_refreshing(page), "it looks for the answer by itself"
    assert "an older answer" not in page.text
    tell(api, ONE)
    api.redis.delete(api.keys.signals(ONE))
    time.sleep(1.1)  # for which everybody sees the same
    page = site.get("/busy/stacks", identity=ONE, asked=int(time.time()))
    assert not is_refreshing(page)
    for words in (
        *("1 of 5 threads busy", "waiting for work: job-0, job-1, job-2, job-4", "taken"),
        *("job-3", "shop.charge 7f5cf2730e59fb5e70145c6d from default, for 1.3 s", "task-1"),
        'File "/srv/shop/payments.py", line 88, in <script>',
    ):
        assert words in page.text, words
    assert page.text.index("job-3") < page.text.index("MainThread"), "jobs come first"
    marked = [line for line in page.html.splitlines() if 'class="own"' in line]
    assert len(marked) == 2
    assert all("/srv/shop/" in line for line in marked)
    jid = "7f5cf2730e59fb5e70145c6d"
    assert f"/job?set=work&amp;key={jid}" in page.html


def test_a_viewer_sees_what_others_have_asked_for(api: Api) -> None:
    process(api, ONE)
    viewer = as_role(api, Role.VIEWER)
    page = viewer.get(viewer.get("/busy").links["Stacks"])
    assert "It was not asked" in page.text
    assert not page.has_button("Ask again")
    tell(api, ONE)
    asked = int(time.time())
    wait(lambda: "shop.charge" in viewer.get("/busy/stacks", asked=asked).text, 5, "it is shown")
    assert "shop.charge" in viewer.get(viewer.get("/busy").links["Stacks of all"]).text
    assert viewer.insist("/busy/do", ("do", "dump"), ("identity", ONE)).status == 403
    assert signals(api, ONE) == []


def test_of_all_processes(site: Site, api: Api) -> None:
    for number in range(30):
        process(api, f"web1:{number + 10}:x")
    page = site.press(site.get("/busy"), "Stacks of all")
    assert signals(api, "web1:10:x") == signals(api, "web1:39:x") == [b"TTIN"]
    assert "1–20 of 30" in page.text
    assert "Waiting for 20 processes" in page.text
    assert "21–30 of 30" in site.get(page.links["Next →"]).text


def test_who_does_not_answer(site: Site, api: Api) -> None:
    process(api, ONE)
    process(api, TWO, info={"implementation": "", "version": "8.1.7"})
    assert "It was not asked" in site.get("/busy/stacks", identity=ONE).text
    long_ago = int(time.time()) - 100
    silent = site.get("/busy/stacks", identity=ONE, asked=long_ago)
    assert "It has not answered" in silent.text
    assert "jobctl threads" in silent.text
    assert not is_refreshing(silent)
    ruby = site.press(site.get("/busy"), "Stacks", ("identity", TWO))
    assert "This is a Sidekiq: it writes its stacks to its log" in ruby.text
    assert not is_refreshing(ruby)
    assert "no such process" in site.get("/busy/stacks", identity="gone").text


def test_one_that_has_ended_since(site: Site, api: Api) -> None:
    tell(api, ONE)
    assert "shop.charge" in site.get("/busy/stacks", identity=ONE).text


def test_whatever_text_it_is(site: Site, api: Api) -> None:
    texts = {
        "web1:1:x": "",
        "web1:2:x": NASTY,
        "web1:3:x": f'\\n\\nThread {NASTY}: {NASTY}\\n  File "{NASTY}", line 1'.replace(
            "\\n", "\n"
        ),
        "web1:4:x": "Thread a (0x1)\n" + '  File "/srv/a.py", line 1, in f\n' * 100_000,
        "web1:5:x": "\n\nThread x\n" * 5_000,
        "web1:6:x": "x" * 500_000,
    }
    for identity, text in texts.items():
        process(api, identity)
        tell(api, identity, text)
    page = site.get("/busy/stacks")
    assert "<script>window" not in page.html
    assert len(page.html) < 1_500_000


APP = """
import threading, time
from jobd import job

@job
def ponder():
    deliberate()

def deliberate():
    threading.Event().wait(60)
"""


def identities(api: Api) -> list[str]:
    return [process.identity for process in api.processes]


def test_a_daemon_is_asked_quieted_and_stopped_from_the_page(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "2", "-t", "0.5")
    api = Api(redis)
    site = as_role(api, Role.ADMIN)
    redis.lpush("queue:default", b'{"class":"app.ponder","args":[],"jid":"0123456789abcdef"}')
    wait(lambda: "app.ponder" in site.get("/busy").text, 30, "the page shows the running job")
    (identity,) = identities(api)

    asked = site.press(site.get("/busy"), "Stacks", ("identity", identity))
    address = str(asked.response.url)
    wait(lambda: "deliberate" in site.get(address).text, 20, "the page shows where it is")
    page = site.get(address)
    assert "app.ponder 0123456789abcdef from default" in page.text
    marked = [line for line in page.html.splitlines() if 'class="own"' in line]
    assert any("in deliberate" in line for line in marked)
    assert '"event":"thread_dump"' in running.log()

    site.press(site.get("/busy"), "Quiet", ("identity", identity))
    wait(lambda: api.processes[identity].stopping, 20, "it is quiet")
    wait(lambda: "1 quiet" in site.get("/busy").text, 10, "the page says so")
    site.press(site.get("/busy", only="processes"), "Stacks", ("identity", identity))

    site.press(site.get("/busy/ask", do="stop", identity=identity), "Stop")
    wait(
        lambda: (found := identities(api)) and identity not in found,
        30,
        "another one has taken its place",
    )
    assert redis.llen("queue:default") + len(list(api.in_flight)) == 1, "the job is not lost"
    running.stop()
