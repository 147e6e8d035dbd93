"""What is in Redis while somebody looks at the pages: a shop at work, nothing, or whatever people
with bad intentions can put there. With each world the addresses of the pages in it."""

from __future__ import annotations

import json
import time
from typing import Any

from jobd.api import Api, JobSet
from jobd.schedules.entry import id_of
from tests.api.conftest import HOSTILE, job, push
from tests.api.test_periodic import store
from tests.web.test_busy import NASTY, ONE, TWO, process, run
from tests.web.test_classes import ran
from tests.web.test_job import FAILED, JID, put, report
from tests.web.test_lists import failed, fill

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

EVERYWHERE = {
    "overview": "/",
    "overview, half a year": "/?days=180",
    "busy": "/busy",
    "running jobs": "/busy?only=jobs",
    "processes": "/busy?only=processes",
    "stacks of all": "/busy/stacks?identity=all",
    "queues": "/queues",
    "queue": "/queue?name=default",
    "queue, searched": "/queue?name=default&q=ok",
    "retries": "/retries",
    "retries, searched": "/retries?q=order",
    "retries, grouped": "/retries/groups",
    "scheduled": "/scheduled",
    "scheduled, searched": "/scheduled?q=order",
    "dead": "/dead",
    "dead, searched": "/dead?q=order",
    "dead, grouped": "/dead/groups",
    "metrics": "/classes",
    "metrics, three days": "/classes?hours=72",
    "class": "/classes/one?name=shop.charge",
    "periodic": "/periodic",
    "batches": "/batches",
    "audit": "/audit",
    "trash": "/trash",
    "find": "/find",
    "find: nowhere": "/find?jid=ffffffffffffffffffffffff",
    "no such page": "/nowhere",
    "no such action": "/busy/ask?do=dance&identity=all",
}
"""Pages that are there whatever is in Redis."""

WHERE_NOTHING_IS = (
    *("overview", "busy", "running jobs", "queues", "queue", "retries", "dead, grouped"),
    *("scheduled, searched", "metrics", "class", "periodic", "audit", "trash", "find: nowhere"),
    "batches",
)
"""Those of them that have a face of their own when there is nothing."""

VARIANTS = (
    *("overview, half a year", "processes", "queue, searched", "retries, searched", "scheduled"),
    *("scheduled, searched", "dead, searched", "dead, grouped", "metrics, three days"),
    *("no such page", "no such action", "dead, oldest first", "retries, second page"),
)
"""Those that show what others show, too, whatever is in it."""

OF_SHOP_TOO = (
    *("overview, half a year", "processes", "busy, searched", "queue, second page"),
    *("queue, newest first", "retries, searched", "retries of a group", "scheduled, searched"),
    *("dead, searched", "dead, grouped", "dead, oldest first", "metrics, three days"),
    *("metrics, searched", "job with a time", "editor of a job with a time"),
)
"""Those of a shop that are made as another one of it is."""

OF_SHOP = {
    "busy, searched": "/busy?q=charge",
    "busy, nothing found": "/busy?q=nothing",
    "jobs of a process": "/busy?process={one}",
    "stacks": "/busy/stacks?identity={one}",
    "stacks, asked for": "/busy/stacks?identity={two}&asked={now}",
    "stacks, nobody answered": "/busy/stacks?identity={two}&asked=1",
    "quiet all?": "/busy/ask?do=quiet&identity=all",
    "stop one?": "/busy/ask?do=stop&identity={one}",
    "queues, nothing found": "/queues?q=nothing",
    "queue, paused": "/queue?name=paused",
    "queue, second page": "/queue?name=default&start=25",
    "queue, newest first": "/queue?name=default&order=other",
    "retries of a group": "/retries?group={group}&error=Net::ReadTimeout",
    "retries, nothing found": "/retries?q=nothing",
    "retries, past the end": "/retries?start=500",
    "dead, oldest first": "/dead?order=other",
    "metrics, searched": "/classes?class=charge",
    "metrics, nothing found": "/classes?class=nothing",
    "class that has not run": "/classes/one?name=nothing",
    "deletion": "/trash/jobs?ref={ref}",
    "job to retry": "/job?set=retry&key={retry}",
    "job with a time": "/job?set=schedule&key={schedule}",
    "dead job": "/job?set=dead&key={dead}",
    "queued job": "/job?set=queue:default&key={queued}",
    "running job": "/job?set=work&key={running}",
    "kill a job?": "/job/ask?set=retry&key={retry}&action=kill",
    "delete a job?": "/job/ask?set=queue:default&key={queued}&action=delete",
    "job that has gone": "/job?set=retry&key=1.0-eeeeeeeeeeeeeeeeeeeeeeee",
    "editor": "/job/edit?set=retry&key={retry}",
    "editor, JSON": "/job/edit?set=retry&key={retry}&json=1",
    "editor, unknown code": "/job/edit?set=dead&key={dead}",
    "editor of a job with a time": "/job/edit?set=schedule&key={schedule}",
    "periodic job": "/periodic/job?id={periodic}",
    "batch": "/batches/batch?id={batch}",
}
"""Pages of something that is in the shop."""

OF_HOSTILE = {
    "busy, searched": "/busy?q=<script>",
    "jobs of a process": "/busy?process={one}",
    "stacks": "/busy/stacks?identity={one}",
    "stop one?": "/busy/ask?do=stop&identity={one}",
    "queue with a bad name": "/queue?name={queue}",
    "retries of a group": "/retries?group={group}&error={nasty}",
    "retries, second page": "/retries?start=15&count=15",
    "dead, oldest first": "/dead?order=other",
    "class": "/classes/one?name={nasty}",
    "deletion": "/trash/jobs?ref={ref}",
    "job to retry": "/job?set=retry&key={html}",
    "job of a megabyte": "/job?set=dead&key={megabyte}",
    "job with a million keys": "/job?set=dead&key={keys}",
    "malformed job": "/job?set=dead&key={malformed}",
    "queued job": "/job?set=queue:{queue}&key={jid}",
    "job in a queue of one word": "/job?set=queue:{word}&key={waiting}",
    "running job": "/job?set=work&key={jid}",
    "delete a job?": "/job/ask?set=retry&key={html}&action=delete",
    "editor": "/job/edit?set=retry&key={html}",
    "editor of a megabyte": "/job/edit?set=dead&key={megabyte}",
    "find: nowhere": "/find?jid={nasty}",
    "periodic job": "/periodic/job?id={periodic}",
    "batch": "/batches/batch?id={batch}",
}
"""Pages of something that somebody hostile has put there."""

REFUSED = {
    "find: nowhere": 404,
    "no such page": 404,
    "no such action": 400,
    "job that has gone": 404,
    "editor of a megabyte": 400,
}
"""Pages that say that something cannot be, and how."""


def shop(api: Api) -> dict[str, Any]:
    """Some of everything; what the addresses name."""
    now = time.time()
    api.redis.mset({"stat:processed": 1_234_567, "stat:failed": 4711})
    api.redis.set(time.strftime("stat:processed:%Y-%m-%d", time.gmtime(now)), 42_000)
    process(api, ONE)
    process(api, TWO, quiet="true", info={"implementation": None, "version": "8.1.7"})
    family = {"v": 1, "parent": f"{800:024x}", "root": f"{800:024x}", "context": {"tenant": "acme"}}
    charge_now = job(800, "shop.charge", tags=["vip"], stalled_after=3600, traceparent=TRACE)
    run(api, ONE, charge_now, job(801, "shop.refund", stalled_after=5, jobd=family))
    report(api, ONE, f"{800:024x}", 450, 1_000, now=now, note="orders of May", since=90)
    told: dict[Any, Any] = {
        "at": repr(now),
        "text": 'Thread a (0x1): x\n  File "/srv/a.py", line 1, in f',
    }
    api.redis.hset(api.keys.stacks(ONE), mapping=told)
    push(api, "default", *(job(n) for n in range(100, 130)))
    push(api, "paused", job(130))
    api.queue("paused").pause()
    for at, name in enumerate(("retries", "scheduled", "dead")):
        first = 200 + 100 * at
        fill(api, name, *(failed(n, tags=["vip"]) for n in range(first, first + 6)))
    ran(api.redis, "shop.charge", 0.1, 0.2, 2.0, failed=1)
    ran(api.redis, "shop.refund", 0.01)
    api.deploys.mark("version 7")
    push(api, "old", job(900), job(901))
    alice = api.acting_as("alice")
    alice.queue("old").clear()
    ref = alice.last_ref
    alice.queue("default").unpause()
    periodic(api, "shop", "shop.report", "shop.clean", cron="0 */3 * * *", tz="Europe/Berlin")
    periodic(api, "mail", "mail.poll", every=60)
    charge: dict[str, Any] = {"class": "shop.charge", "args": [7, "hello"]}
    return {
        "one": ONE,
        "two": TWO,
        "now": int(now),
        "ref": ref,
        "group": api.retries.groups().run(1.0)[0].key,
        "queued": f"{101:024x}",
        "running": f"{800:024x}",
        "retry": put(api, "retry", None, **FAILED, **charge, tags=["vip"], jobd=family),
        "schedule": put(api, "schedule", None, **charge),
        "dead": next(iter(api.dead)).key,
        "periodic": id_of("shop", "shop.report"),
        "batch": batch(api, "shop.report"),
    }


def empty(api: Api) -> dict[str, Any]:
    """Nothing."""
    return {}


def hostile(api: Api) -> dict[str, Any]:
    """HTML, words without an end, bytes that are no text, megabytes, a million keys, in every
    field that somebody can write."""
    queue = NASTY + "q" * 400
    fields: dict[str, Any] = {
        "class": NASTY * 5,
        "args": ["y" * 5000, {NASTY: NASTY}],
        "kwargs": {"k" * 300: NASTY},
        "tags": ["z" * 300, NASTY],
        "queue": queue,
        "error_message": "w" * 5000,
        "error_class": NASTY,
        "error_backtrace": [f"{NASTY}:1:in x", "p" * 3000],
        "wrapped": NASTY,
        NASTY: "u" * 3000,
        "traceparent": NASTY * 9,
        "stalled_after": 1,
        "jobd": {
            "v": 1,
            "parent": NASTY * 9,
            "root": "r" * 500,
            "context": {NASTY: NASTY, "v" * 300: "t" * 900},
        },
    }
    nasty = job(1, **{**FAILED, **fields})
    info = {"tag": NASTY * 9, "labels": [NASTY, "x" * 300], "hostname": "h" * 300}
    process(api, ONE, info={**info, "capsules": {NASTY: {"weights": {queue: 1}}}})
    run(api, ONE, nasty, *HOSTILE, queue=queue)
    report(api, ONE, JID, 1e15, 1e15, now=time.time() - 40, note=(NASTY * 9)[:150] + "n" * 50)
    api.redis.hset(api.keys.progress(ONE), "odd", b"\xff")
    told: dict[Any, Any] = {
        "at": "1.0",
        "text": f"\n\nThread a: {NASTY}\n".encode() + b"\xff\xfe" + b"v" * 5000,
    }
    api.redis.hset(api.keys.stacks(ONE), mapping=told)
    many = json.dumps({"class": "Keys", "args": [dict.fromkeys(range(1_000_000), 1)], "jid": "m"})
    for name in (queue, "default", "\x00", "\u202e" + "ü" * 300):
        push(api, name, *HOSTILE, nasty)
    word, now = "W" * 300, time.time()
    push(api, word, job(2, queue=word, created_at=now, enqueued_at=now))
    for jobs in (api.retries, api.scheduled, api.dead):
        fill(api, _page(jobs), *HOSTILE, nasty, first=time.time() + 1000)
    api.redis.zadd(api.keys.dead, {many.encode(): time.time() + 5000})
    ran(api.redis, NASTY, 0.1, failed=1)
    ran(api.redis, "c" * 900, 0.1)
    api.deploys.mark(NASTY[:100])
    periodic(api, NASTY, NASTY, "p" * 500, cron="0 6 * * *")
    mallory = api.acting_as(NASTY)
    push(api, NASTY, *HOSTILE, nasty)
    mallory.queue(NASTY).clear()
    entries = {entry.value: entry.key for entry in api.dead}
    (html,) = (entry.key for entry in api.retries if entry.value == nasty)
    return {
        "one": ONE,
        "queue": queue,
        "word": word,
        "waiting": f"{2:024x}",
        "nasty": NASTY,
        "jid": JID,
        "group": max(api.retries.groups().run(1.0), key=lambda group: len(group.error_class)).key,
        "ref": mallory.last_ref,
        "html": html,
        "megabyte": next(key for raw, key in entries.items() if b"x" * 1_000_000 in raw),
        "keys": entries[many.encode()],
        "malformed": entries[b"[]"],
        "periodic": id_of(NASTY, NASTY),
        "batch": batch(api, NASTY + "W" * 500),
    }


def batch(api: Api, text: str) -> str:
    """A batch with something of everything; returns its id."""
    bid, keys, now = "00c0ffee00c0ffee", api.keys, time.time()
    told: dict[Any, Any] = {
        "description": text,
        "tags": json.dumps([text]),
        "total": 1200,
        "pending": 800,
        "done": 390,
        "dead": 1,
        "failed": 9,
        "expired": 2,
        "cancelled": 4,
        "unconfirmed": 3,
        "open": 1,
        "strict": 1,
        "created_at": now - 300,
        "death_at": now - 60,
        "abandoned_at": now - 1,
    }
    for one in (bid, "00c0ffee00c0ffef"):
        api.redis.hset(keys.batch(one), mapping=told)
        api.redis.zadd(keys.batches, {one: now - 300})
    api.redis.hset(keys.batch("00c0ffee00c0ffef"), "parent", f"{bid} 7")
    api.redis.set(keys.batch_members(bid), bytes([0x12, 0x93, 0xB4]))
    waits = json.dumps({"class": text, "args": [], "queue": "default"})
    api.redis.hset(keys.batch_callbacks(bid), mapping={"success:1": waits, "death:2": ""})
    return bid


def periodic(api: Api, owner: str, *names: str, **options: Any) -> None:
    """Periodic jobs with something of everything behind them."""
    store(api, owner, *names, **{"tz": None, "cron": None, **options})
    now = time.time()
    kinds = ("fired", "fired", "late", "skipped", "missed", "run", "strange")
    for name in names:
        for number, what in enumerate(kinds * 3):
            tick = now - 3600 * (number / 4 + 0.1)
            told = {"what": what, "at": tick + 1, "tick": tick, "jid": JID, "why": name}
            api.redis.rpush(api.keys.ticks(id_of(owner, name)), json.dumps(told))


def _page(jobs: JobSet) -> str:
    return {"retry": "retries", "schedule": "scheduled", "dead": "dead"}[jobs.name]
