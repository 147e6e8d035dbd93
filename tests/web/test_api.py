"""The API: what it tells, what it does, and how it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
from jobd.worker.metrics import Metrics
from tests.api.conftest import HOSTILE, job, push, waiting
from tests.web.frame import TOKEN, VIEWING, bearer, browser, guarded

Ask = Callable[..., Any]

IDENTITY = "host:7:0123456789ab"


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)


@pytest.fixture
def ask(redis: redis_py.Redis) -> Ask:
    """Send a request; the decoded answer, which must have the given status."""
    client = browser(guarded(redis))

    def send(method: str, path: str, body: Any = None, status: int = 200, **query: Any) -> Any:
        given = {"json": body} if body is not None else {}
        answer = client.request(
            method, f"/api/v1{path}", params=query, headers=bearer(TOKEN), **given
        )
        assert answer.status_code == status, answer.text
        kind = "application/json" if status == 200 else "application/problem+json"
        assert answer.headers["content-type"] == kind
        return answer.json()

    return send


def fail(api: Api, name: str, number: int, **fields: Any) -> bytes:
    raw = job(number, error_class="Boom", error_message=f"at {number}", failed_at=9.5, **fields)
    api.redis.zadd(getattr(api.keys, name), {raw: 2_000_000_000.0 + number})
    return raw


def beat(api: Api, identity: str = IDENTITY) -> None:
    api.redis.sadd(api.keys.processes, identity)
    info = b'{"hostname":"host","pid":7,"queues":["mail"],"concurrency":5,"started_at":1.5}'
    api.redis.hset(
        api.keys.process(identity), mapping={"info": info, "busy": "1", "beat": "2.5", "rss": "9"}
    )


def test_a_text_is_no_pattern(api: Api, ask: Ask) -> None:
    for number in range(50):
        push(api, "mail", job(number, queue="mail"))
        fail(api, "retry", number)
    found = ask("GET", "/jobs/search", queue="mail", match="[17]")
    assert [one["args"] for one in found["jobs"]] == [[17]]
    assert [one["args"] for one in ask("GET", "/sets/retries/search", match="[17]")["jobs"]] == [
        [17]
    ]
    assert ask("GET", "/jobs/search", queue="mail", match="*")["jobs"] == []
    found = ask("GET", "/jobs/search", queue="mail", pattern=r"\[[17]\]")
    assert [one["args"] for one in found["jobs"]] == [[1], [7]]
    assert ask("POST", "/sets/retries/delete-all", {"match": "*"})["changed"] == 0
    assert ask("POST", "/sets/retries/delete-all", {"match": "[17]"})["changed"] == 1
    assert ask("POST", "/sets/retries/kill-all", {"pattern": r"\[[17]\]"})["changed"] == 2
    assert ask("POST", "/sets/retries/retry-all", {"match": "a", "pattern": "ZZ"})["changed"] == 0
    assert api.retries.size == 47


def test_what_it_tells(api: Api, ask: Ask) -> None:
    push(api, "mail", job(1, queue="mail"), job(2, "Other", queue="mail"))
    fail(api, "retry", 3, error_backtrace=["app.py:7:in 'f'"])
    beat(api)
    work = b'{"queue":"mail","payload":"{\\"class\\":\\"Ok\\",\\"args\\":[]}","run_at":5}'
    api.redis.hset(api.keys.work(IDENTITY), "t", work)
    api.redis.set("stat:processed", 70)

    stats = ask("GET", "/stats")
    assert (stats["processed"], stats["enqueued"], stats["retries"]) == (70, 2, 1)
    assert len(ask("GET", "/history", days=3)["days"]) == 3
    (queue,) = ask("GET", "/queues")["queues"]
    assert (queue["name"], queue["size"], queue["paused"]) == ("mail", 2, False)

    page = ask("GET", "/jobs", queue="mail", count=1)
    assert (page["size"], page["more"], page["jobs"][0]["args"]) == (2, True, [1])
    newest = ask("GET", "/jobs", queue="mail", count=1, newest_first=True)
    assert newest["jobs"][0]["class"] == "Other"
    found = ask("GET", "/jobs/search", queue="mail", match="Other")
    assert ([one["args"] for one in found["jobs"]], found["done"]) == ([[2]], True)
    assert ask("GET", "/job", queue="mail", jid=f"{2:024x}")["backtrace"] == []

    (entry,) = ask("GET", "/sets/retries")["jobs"]
    assert (entry["at"], entry["error_message"]) == (2_000_000_003.0, "at 3")
    (same,) = ask("GET", "/sets/retries/search", match="Boom")["jobs"]
    assert same == entry
    (group,) = ask("GET", "/sets/retries/groups")["groups"]
    assert (group["error_class"], group["place"], group["count"]) == ("Boom", "app.py in f", 1)
    assert ask("GET", "/sets/retries/search", group=group["key"])["jobs"] == [entry]
    assert ask("GET", "/sets/retries/job", key=entry["key"])["backtrace"] == ["app.py:7:in 'f'"]

    (process,) = ask("GET", "/processes")["processes"]
    assert (process["identity"], process["queues"], process["rss"]) == (IDENTITY, {"mail": 0}, 9)
    (running,) = ask("GET", "/work")["work"]
    assert (running["process"], running["job"]["class"]) == (IDENTITY, "Ok")
    assert ask("GET", "/redis")["role"] == "master"
    assert ask("GET", "/audit") == {"entries": [], "before": ""}
    assert ask("GET", "/audit", before="0-0")["entries"] == []
    assert ask("GET", "/trash")["deletions"] == []


def test_queues_are_paused_moved_and_cleared(api: Api, ask: Ask) -> None:
    push(api, "mail", *(job(n, queue="mail") for n in range(4)))
    assert ask("POST", "/queues/pause", {"queue": "mail"})["changed"] == 1
    assert ask("GET", "/queues")["queues"][0]["paused"] is True
    assert ask("POST", "/queues/unpause", {"queue": "mail"})["changed"] == 1
    one = {"queue": "mail", "target": "low", "jid": f"{2:024x}"}
    assert ask("POST", "/job/move", one)["changed"] == 1
    assert waiting(api, "low") == [job(2, queue="low")]
    assert ask("DELETE", "/job", queue="mail", jid=f"{0:024x}")["changed"] == 1
    assert ask("POST", "/queues/move", {"queue": "mail", "target": "low"})["changed"] == 2
    assert ask("DELETE", "/queues", queue="low")["changed"] == 3
    who = {(entry["who"], entry["action"]) for entry in ask("GET", "/audit")["entries"]}
    assert {("deploy", "pause"), ("deploy", "clear"), ("deploy", "delete")} <= who

    cleared, deleted = ask("GET", "/trash")["deletions"]
    assert (cleared["origin"], cleared["jobs"]) == ("queue:low", 3)
    assert ask("POST", "/trash/restore", {"ref": cleared["ref"]})["changed"] == 3
    assert len(waiting(api, "low")) == 3
    assert ask("DELETE", "/trash", ref=deleted["ref"])["changed"] == 1
    assert ask("GET", "/trash")["size"] == 0


def test_jobs_of_sets_are_retried_killed_and_deleted(api: Api, ask: Ask) -> None:
    for number in range(6):
        fail(api, "retry", number)
    keys = [entry["key"] for entry in ask("GET", "/sets/retries")["jobs"]]
    assert ask("POST", "/sets/retries/retry", {"keys": [keys[0], "1.0-gone"]})["changed"] == 1
    at = time.time() + 60
    told = ask("POST", "/sets/retries/reschedule", {"keys": keys[1:2], "at": at})
    assert told["changed"] == 1
    assert min(entry.score for entry in api.retries) == at
    assert ask("POST", "/sets/retries/kill", {"keys": keys[2:3]})["changed"] == 1
    assert ask("POST", "/sets/retries/delete", {"keys": keys[3:4]})["changed"] == 1
    assert ask("DELETE", "/sets/retries/job", key=keys[4])["changed"] == 1
    (group,) = ask("GET", "/sets/retries/groups")["groups"]
    rest = ask("POST", "/sets/retries/kill-all", {"match": "Boom", "group": group["key"]})
    assert (rest["changed"], rest["done"], rest["cursor"]) == (2, True, "")
    assert ask("POST", "/sets/dead/retry-all", {"match": f"{2:024x}"})["changed"] == 1
    assert ask("POST", "/sets/dead/delete-all", {"match": "none"})["changed"] == 0
    assert ask("POST", "/sets/dead/delete-all", {})["changed"] == 2
    assert (api.retries.size, api.dead.size, api.queue("default").size) == (0, 0, 2)
    fail(api, "dead", 7)
    assert ask("DELETE", "/sets/dead")["changed"] == 1
    assert api.dead.size == 0


def test_the_id_of_another_deletion_is_refused(api: Api, ask: Ask) -> None:
    fail(api, "retry", 1)
    fail(api, "dead", 2)
    ref = ask("POST", "/sets/retries/delete-all", {})["ref"]
    before = ask("GET", "/trash"), ask("GET", "/audit")
    refused = ask("POST", "/sets/dead/delete-all", {"ref": ref}, 409)
    assert "another deletion" in refused["detail"]
    assert "start again, without an id" in refused["detail"]
    assert (ask("GET", "/trash"), ask("GET", "/audit"), api.dead.size) == (*before, 1)


def test_scheduled_jobs_are_put_into_their_queues(api: Api, ask: Ask) -> None:
    api.redis.zadd(api.keys.schedule, {job(1): 2_000_000_000.0})
    assert ask("POST", "/sets/scheduled/retry-all", {})["changed"] == 1
    (raw,) = waiting(api)
    assert b"retry_count" not in raw


def test_processes_are_told(api: Api, ask: Ask) -> None:
    beat(api)
    beat(api, "host:8:ba9876543210")
    assert ask("POST", "/process/quiet", {"identity": IDENTITY})["changed"] == 1
    assert ask("POST", "/processes/dump")["changed"] == 2
    assert ask("POST", "/process/stop", {"identity": IDENTITY})["changed"] == 1
    told = api.redis.lrange(api.keys.signals(IDENTITY), 0, -1)
    assert set(told) == {b"TSTP", b"TTIN", b"TERM"}
    gone = ask("POST", "/process/stop", {"identity": "x"}, 404)
    assert gone["detail"] == "there is no such process (any more)"


def test_jobs_are_cancelled(api: Api, ask: Ask) -> None:
    push(api, "mail", job(1))
    api.redis.zadd(api.keys.owners, {IDENTITY: time.time() + 60})
    api.redis.hset(api.keys.inflight(IDENTITY), "1:mail", job(2))
    answers = [
        ask("POST", "/job/cancel", {"jid": f"{number:024x}", **more})["answer"]
        for number, more in ((1, {"queue": "low"}), (1, {"queue": "mail"}), (2, {}), (3, {}))
    ]
    assert answers == ["unknown", "cancelled", "cancelling", "unknown"]
    assert {entry["action"] for entry in ask("GET", "/audit")["entries"]} == {"cancel"}


def test_totals_are_reset(api: Api, ask: Ask) -> None:
    api.redis.mset({"stat:processed": 7, "stat:failed": 3})
    assert ask("POST", "/stats/reset", {"names": ["failed"]})["changed"] == 1
    # What somebody has just done, he sees.
    assert [ask("GET", "/stats")[name] for name in ("processed", "failed")] == [7, 0]


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "status"),
    [
        ("GET", "/jobs", None, {}, 400),
        ("GET", "/jobs", None, {"queue": "q", "count": 101}, 400),
        ("GET", "/jobs", None, {"queue": "q", "start": -1}, 400),
        ("GET", "/jobs", None, {"queue": "q", "start": 10**30}, 400),
        ("GET", "/jobs", None, {"queue": "q", "cuont": 1}, 400),
        ("GET", "/jobs", None, {"queue": ["q", "r"]}, 400),
        ("GET", "/jobs", None, {"queue": ""}, 400),
        ("GET", "/jobs/search", None, {"queue": "q", "cursor": "9" * 20}, 400),
        ("GET", "/job", None, {"queue": "q", "jid": "none"}, 404),
        ("GET", "/history", None, {"days": "many"}, 400),
        ("GET", "/audit", None, {"before": "x"}, 400),
        ("GET", "/audit", None, {"before": "5-5\n"}, 400),
        ("GET", "/sets/retry", None, {}, 404),
        ("GET", "/sets/retries", None, {"set": "dead"}, 400),
        ("GET", "/sets/retries/job", None, {"key": "x"}, 400),
        ("GET", "/sets/retries/job", None, {"key": "1.5-none"}, 404),
        ("GET", "/stats", None, {"x": 1}, 400),
        ("DELETE", "/queues", None, {}, 400),
        ("DELETE", "/trash", None, {"ref": "none"}, 404),
        ("POST", "/trash/restore", {"ref": "none"}, {}, 404),
        ("POST", "/queues/pause", {}, {}, 400),
        ("POST", "/queues/pause", {"queue": 7}, {}, 400),
        ("POST", "/queues/pause", {"queue": "q", "x": 1}, {}, 400),
        ("POST", "/queues/pause", [], {}, 400),
        ("POST", "/queues/move", {"queue": "q", "target": "q"}, {}, 409),
        ("POST", "/queues/move", {"queue": "q", "target": "with space"}, {}, 400),
        ("POST", "/queues/move", {"queue": "q", "target": "r\n"}, {}, 400),
        ("POST", "/job/move", {"queue": "q", "target": "r", "jid": "none"}, {}, 404),
        ("POST", "/sets/retries/delete", {}, {}, 400),
        ("POST", "/sets/retries/delete", {"keys": []}, {}, 400),
        ("POST", "/sets/retries/delete", {"keys": ["1.5-a"] * 1001}, {}, 400),
        ("POST", "/sets/retries/delete", {"keys": ["1.5-a"], "match": "x"}, {}, 400),
        ("POST", "/sets/retries/delete-all", {"ref": "x:y"}, {}, 400),
        ("POST", "/sets/retries/delete-all", {"pattern": "?" * 990 + "Q"}, {}, 400),
        ("GET", "/jobs/search", None, {"queue": "q", "pattern": "?" * 990 + "Q"}, 400),
        ("POST", "/sets/retries/delete-all", {"ref": "018f5a5a-0123abcd\n"}, {}, 400),
        ("POST", "/sets/retries/delete-all", {"cursor": "-1"}, {}, 400),
        ("POST", "/sets/dead/kill", {"keys": ["1.5-a"]}, {}, 404),
        ("POST", "/sets/dead/kill-all", {}, {}, 404),
        ("POST", "/sets/retries/reschedule", {"keys": [], "at": 5}, {}, 400),
        ("POST", "/sets/retries/reschedule", {"keys": ["1.5-a"], "at": -1}, {}, 400),
        ("POST", "/process/stop", {}, {}, 400),
        ("POST", "/process/stop", {"identity": ""}, {}, 400),
        ("POST", "/stats/reset", {"names": ["x"]}, {}, 400),
    ],
)
def test_what_is_wrong_is_said(
    ask: Ask, redis: redis_py.Redis, method: str, path: str, body: Any, query: Any, status: int
) -> None:
    told = ask(method, path, body, status, **query)
    assert set(told) == {"type", "title", "status", "detail"}
    assert told["status"] == status
    assert told["detail"]
    assert redis.dbsize() == 0


def test_a_body_is_json(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    for sent in ("", "{", '{"queue":"q"', "\xff", "[" * 100_000):
        answer = client.post(
            "/api/v1/queues/pause",
            content=sent.encode("latin-1"),
            headers={**bearer(), "Content-Type": "application/json"},
        )
        assert answer.status_code == 400, answer.text
    form = client.post("/api/v1/queues/pause", data={"queue": "q"}, headers=bearer())
    assert form.status_code == 415


def test_every_change_takes_more_than_looking(redis: redis_py.Redis) -> None:
    from jobd.web.v1 import OPERATIONS

    client = browser(guarded(redis))
    changing = [one for one in OPERATIONS if one.method != "GET"]
    assert len(changing) >= 15
    for one in changing:
        path = "/api/v1" + one.path.replace("{set}", "dead")
        answer = client.request(one.method, path, headers=bearer(VIEWING))
        assert answer.status_code == 403, one.name
    for one in OPERATIONS:
        if one.method == "DELETE" or "delete" in one.name or one.name in ("kill", "stop"):
            assert one.role.name == "ADMIN"


def test_hostile_jobs_are_told_as_well_as_can_be(api: Api, ask: Ask) -> None:
    push(api, "default", *HOSTILE)
    api.redis.zadd(api.keys.dead, {raw: float(at) for at, raw in enumerate(HOSTILE)})
    api.redis.zadd(api.keys.dead, {"for ever": "+inf", "never": "-inf", "soon": "-2e-16"})

    def all_of(path: str, **query: Any) -> list[Any]:
        """Page by page: large jobs make a page short."""
        found: list[Any] = []
        page = {"more": True}
        while page["more"]:
            page = ask("GET", path, start=len(found), count=100, **query)
            assert page["jobs"]
            found += page["jobs"]
        return found

    queued, dead = all_of("/jobs", queue="default"), all_of("/sets/dead")
    assert len(queued) == len(HOSTILE)
    assert len(dead) == len(HOSTILE) + 3
    for entry in dead:
        detail = ask("GET", "/sets/dead/job", key=entry["key"])
        assert detail["key"] == entry["key"]
    large = [one for one in queued if one["bytes"] > 1_500_000 and not one["malformed"]]
    assert large
    assert all(one["args"] is None for one in large)
    ask("GET", "/sets/dead/groups")
    assert ask("POST", "/sets/dead/delete", {"keys": [e["key"] for e in dead]})["changed"] > 20


def test_secrets_are_not_told(api: Api, ask: Ask) -> None:
    push(api, "default", job(1, encrypt=True, args=[7, "the-ciphertext"]))
    for told in (
        ask("GET", "/jobs", queue="default"),
        ask("GET", "/job", queue="default", jid=f"{1:024x}"),
    ):
        assert "the-ciphertext" not in str(told)
        assert "[encrypted data]" in str(told)
    for match, found in (("the-cipher", 0), ("encrypt", 1)):
        assert len(ask("GET", "/jobs/search", queue="default", match=match)["jobs"]) == found


def test_classes_and_deploys(api: Api, ask: Ask) -> None:
    metrics = Metrics()
    for _ in range(9):
        metrics.done("shop.pay", 0.2)
    metrics.failed("shop.pay")
    metrics.done("shop.mail", 0.01)
    for seconds in (300.0, 400.0):
        metrics.done("shop.report", seconds)
    metrics.send(api.redis, api.keys)
    told = ask("GET", "/classes")
    assert [one["name"] for one in told["classes"]] == ["shop.report", "shop.pay", "shop.mail"]
    assert told["classes"][1] == {"name": "shop.pay", "processed": 10, "failed": 1, "ms": 1800}
    assert ask("GET", "/classes", hours=72)["classes"][1]["name"] == "shop.pay"
    assert ask("GET", "/classes", match="MAIL")["size"] == 1
    one = ask("GET", "/class", name="shop.pay", minutes=5)
    assert (one["processed"], len(one["minutes"]), one["p50"]) == (10, 5, 0.225)
    assert [each for each in one["histogram"] if each["count"]] == [{"below": 0.225, "count": 9}]
    slow = ask("GET", "/class", name="shop.report")
    assert [slow[name] for name in ("p50", "p95", "p99")] == [335.0, "+Inf", "+Inf"]
    nothing = ask("GET", "/class", name="Nobody")
    assert (nothing["processed"], nothing["p99"]) == (0, None)
    assert ask("POST", "/deploys", {"label": "abc Faster"})["changed"] == 1
    assert ask("POST", "/deploys", {"label": "abc Faster"})["changed"] == 0
    (deploy,) = ask("GET", "/deploys", days=2)["deploys"]
    assert deploy["label"] == "abc Faster"
    assert abs(deploy["at"] - time.time()) < 120
    api.deploys.mark("next", at=deploy["at"] + 60)
    assert ask("POST", "/deploys", {"label": "in the same minute"})["changed"] == 0
    assert "in the same minute" not in str(ask("GET", "/deploys", days=2))


def test_stacks_and_finding_by_id(api: Api, ask: Ask) -> None:
    beat(api)
    assert (
        "ask it to dump" in ask("GET", "/process/stacks", status=404, identity=IDENTITY)["detail"]
    )
    api.redis.hset(api.keys.stacks(IDENTITY), mapping={"at": "1.5", "text": "Thread a"})
    told = ask("GET", "/process/stacks", identity=IDENTITY)
    assert told == {"at": 1.5, "text": "Thread a"}
    fail(api, "dead", 3)
    wanted = api.dead.page().entries[0]
    (found,) = ask("GET", "/find", jid=wanted.jid)["jobs"]
    assert (found["place"], found["key"]) == ("dead", wanted.key)
    answer = ask("GET", "/find", jid="nobody")
    assert (answer["jobs"], answer["done"], answer["cursor"]) == ([], True, "")


def test_results_and_what_hangs_on_a_job(api: Api, ask: Ask, redis: redis_py.Redis) -> None:
    client = Client(redis=redis)
    item = {"class": "Add", "args": [1], "unique": True, "keep_result": 60}
    jid = client.push(item)
    [told] = ask("GET", "/jobs", queue="default")["jobs"]
    assert (told["jid"], told["unique_until"], told["keep_result"]) == (jid, "success", 60)
    assert ask("GET", f"/results/{jid}")["state"] == "queued"
    detail: dict[Any, Any] = {"state": "done", "at": "9.5", "detail": '{"value":[3]}'}
    redis.hset(f"jobd:result:{jid}", mapping=detail)
    found = ask("GET", f"/results/{jid}")
    assert (found["state"], found["ended_at"], found["value"]) == ("done", 9.5, [3])
    ask("GET", "/results/unknown", status=404)
