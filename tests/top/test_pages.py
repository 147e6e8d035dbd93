"""What the pages show, and what their keys do: the real program on a real server, with a pilot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from jobd.api import Api
from jobd.worker.metrics import Metrics
from tests.api.conftest import HOSTILE, job, push
from tests.api.test_periodic import store
from tests.api.test_processes import NEW, beat
from tests.top.screen import Screen, on_screen


def failed(number: int, **fields: Any) -> bytes:
    error = {"error_class": "KeyError", "error_message": f"no user {number}", "retry_count": 2}
    return job(number, "Mail", "mail", failed_at=time.time() - 60, **{**error, **fields})


def fill(api: Api, key: str, count: int, **fields: Any) -> None:
    """Failed jobs, due in an hour or dead since then."""
    at = time.time() + (86_400 if key != "dead" else -7200)
    api.redis.zadd(key, {failed(number, **fields): at + number for number in range(count)})


def works(api: Api, identity: str, number: int) -> None:
    """A process that lives, and runs a job."""
    now = time.time()
    state: Any = {"concurrency": 4, "busy": 1, "beat": now, "quiet": "false", "rss": 40_000}
    beat(api, identity, {**NEW, "started_at": now - 90, "implementation": "jobd"}, **state)
    running = {"queue": "mail", "payload": job(number, "Slow").decode(), "run_at": now - 75}
    api.redis.hset(api.keys.work(identity), f"t{number}", json.dumps(running))


def test_every_page_shows_what_is_there(api: Api) -> None:
    fill(api, "retry", 3)
    fill(api, "dead", 2)
    api.redis.zadd("schedule", {job(7, "Later"): time.time() + 60_000})
    push(api, "mail", job(1, "Mail", "mail"), job(2, "Mail", "mail"))
    works(api, "web1:7:aa", 5)
    store(api, "shop", "report", cron="30 2 * * *", tz="America/New_York")
    counts = Metrics()
    counts.done("Mail", 0.25)
    counts.send(api.redis, api.keys)

    async def scenario(screen: Screen) -> None:
        await screen.shows("2 queued, 1 running", "30 days", "last hour", "Redis ")
        for key, texts in {
            "2": ("Busy: 1 running", "Slow", "web1:7"),
            "3": ("Processes: 1 on 1 host, 1 of 4 busy", "web1:7:aa", "running", "1/4"),
            "4": ("Queues: 1, 2 jobs", "mail"),
            "5": ("Retries: 1 to 3 of 3", "in 23h", "Mail", "KeyError: no user 0"),
            "6": ("Scheduled: 1 to 1 of 1", "in 16h", "Later", f"{7:024x}"),
            "7": ("Dead: 1 to 2 of 2", "2h 0", "KeyError: no user 1"),
            "8": ("Groups of 5 failed jobs: 2", "retries", "dead", "KeyError"),
            "9": ("Metrics of the last hour", "1 done, 0 failed", "250ms"),
            "0": ("Periodic jobs: 1", "report", "30 2 * * *"),
        }.items():
            await screen.press(key)
            await screen.shows(*texts)
            assert max(map(len, screen.text.splitlines())) <= 80
        await screen.press("left", "left")
        await screen.shows("Groups of 5 failed jobs")
        await screen.press("right", "right", "right")
        await screen.shows("Batches: none")
        await screen.press("right", "right", "right", "right")
        await screen.shows("2 queued, 1 running")

    on_screen(api, scenario)


def test_every_page_is_kept_up_to_date(api: Api) -> None:
    """Also those that are looked at less often than the counters."""

    def pushed(name: str) -> None:
        push(api, name, job(1, "Mail", name))

    changes: dict[str, tuple[str, Callable[[], object], str]] = {
        "1": ("0 queued", lambda: pushed("mail"), "1 queued"),
        "2": ("Busy: ", lambda: works(api, "web1:7:aa", 5), "Busy: 1 running"),
        "3": ("Processes: 1 on", lambda: works(api, "web2:7:bb", 6), "Processes: 2 on"),
        "4": ("Queues: 1, 1 job", lambda: pushed("low"), "Queues: 2, 2 jobs"),
        "5": ("Retries: no jobs", lambda: fill(api, "retry", 3), "Retries: 1 to 3 of 3"),
        "0": ("Periodic jobs: 0", lambda: store(api, "shop", "report", cron="1 2 * * *"), "report"),
        "u": ("Trash: none", api.acting_as("bob").retries.clear, "Trash: 1 to 1 of 1"),
        "a": ("Audit log: 1", api.acting_as("bob").queue("mail").pause, "Audit log: 2"),
    }

    async def scenario(screen: Screen) -> None:
        for key, (before, change, after) in changes.items():
            await screen.press(key)
            await screen.shows(before)
            await screen.passes(0.5)
            change()
            await screen.shows(after)

    on_screen(api, scenario)


def test_a_row_opens_and_a_job_is_explained(api: Api) -> None:
    push(api, "mail", job(1, "Mail", "mail"), job(2, "Mail", "mail"))
    api.queue("mail").pause()

    async def scenario(screen: Screen) -> None:
        await screen.press("4")
        await screen.shows("paused")
        await screen.press("enter")
        await screen.shows("Queue mail: 1 to 2 of 2")
        await screen.press("j", "enter")
        await screen.shows("Queue mail is paused", "jobctl queues resume mail", "arguments")
        await screen.press("D")
        await screen.shows(f"Deleted jobs do not run. Delete Mail {2:024x}?")
        await screen.press("y")
        await screen.tells("Deleted 1 job")
        await screen.shows("It is not in Redis")
        await screen.press("escape")
        await screen.shows("Queue mail: 1 to 1 of 1")
        await screen.press("f")
        await screen.shows("Find a job")
        await screen.type(f"{1:024x}")
        await screen.shows(f"Job {1:024x}", "Queue mail is paused")
        await screen.press("escape", "escape")
        await screen.shows("Queues: 1, 1 job")

    on_screen(api, scenario)


# -- actions on jobs -------------------------------------------------------------------------------


def test_what_deletes_asks_and_can_be_undone(api: Api) -> None:
    fill(api, "retry", 5)

    async def scenario(screen: Screen) -> None:
        await screen.press("5")
        await screen.shows("Retries: 1 to 5 of 5")
        await screen.press("x", "x", "D")
        await screen.shows("2 marked", "Deleted jobs do not run. Delete 2 jobs?")
        await screen.press("enter")  # that is no yes
        await screen.shows("2 marked")
        assert api.retries.size == 5
        await screen.press("D", "y")
        await screen.tells("Deleted 2 jobs. U undoes it.")
        await screen.shows("Retries: 1 to 3 of 3")
        await screen.press("U")
        await screen.shows("Put 2 jobs back where they were?")
        await screen.press("y")
        await screen.tells("Restored 2 jobs.")
        await screen.shows("Retries: 1 to 5 of 5")

    on_screen(api, scenario)
    assert {one.who for one in api.audit.page()} == {"tester"}


def test_retry_kill_and_another_time(api: Api) -> None:
    fill(api, "retry", 3)

    async def scenario(screen: Screen) -> None:
        await screen.press("5")
        await screen.shows("Retries: 1 to 3 of 3")
        await screen.press("R")
        await screen.tells("Put into their queues: 1 job.")
        await screen.shows("Retries: 1 to 2 of 2")
        await screen.press("K")
        await screen.shows("are not tried again. Kill Mail")
        await screen.press("y")
        await screen.tells("Killed 1 job.")
        await screen.shows("Retries: 1 to 1 of 1")
        await screen.press("S")
        await screen.shows("Reschedule: when")
        await screen.type("never")
        await screen.tells("never is not a time such as 90s")
        await screen.press("S")
        await screen.shows("Reschedule: when")
        await screen.type("12000d")  # as a number it would be a moment of 2002: now
        await screen.tells("12000d is too long")
        await screen.press("S")
        await screen.shows("Reschedule: when")
        await screen.type("3h")
        await screen.shows("Reschedule Mail")
        await screen.press("y")
        await screen.tells("Rescheduled 1 job.")
        await screen.shows("in 2h ")

    on_screen(api, scenario)
    assert (api.queue("mail").size, api.dead.size, api.retries.size) == (1, 1, 1)


def test_all_that_fit_a_search(api: Api) -> None:
    fill(api, "dead", 150)
    fill(api, "dead", 120, error_class="Timeout")

    async def scenario(screen: Screen) -> None:
        await screen.press("7")
        await screen.shows("Dead: 1 to 100 of 270")
        await screen.press("l")
        await screen.shows("Dead: 101 to 200 of 270")
        await screen.press("slash")
        await screen.shows("Search Dead")
        await screen.type("error:timeout")
        await screen.shows("120 found in 270")
        await screen.press("A", "A")
        await screen.shows("ALL that fit marked")
        await screen.press("D")
        await screen.shows("Delete all jobs of dead that fit?")
        await screen.press("y")
        await screen.tells("Deleted 120 jobs.")
        await screen.shows("0 found in 150")
        await screen.press("escape")
        await screen.shows("Dead: 1 to 100 of 150")
        await screen.press("slash")
        await screen.type("older:soon")
        await screen.tells("soon is not a time")
        await screen.press("A", "A", "D")
        await screen.shows("Delete all 150 jobs of dead?")
        await screen.press("y")
        await screen.shows("Dead: no jobs")

    on_screen(api, scenario)
    assert sorted(one.jobs for one in api.trash.page()) == [120, 150]


def test_a_group_is_opened_and_retried(api: Api) -> None:
    fill(api, "dead", 4)
    fill(api, "dead", 3, error_class="Timeout")

    async def scenario(screen: Screen) -> None:
        await screen.press("8")
        await screen.shows("Groups of 7 failed jobs: 2")
        await screen.press("enter")
        await screen.shows("4 found in 7", "KeyError")
        await screen.press("escape", "escape")
        await screen.shows("Groups of 7")
        await screen.press("R")
        await screen.shows("Retry now all jobs of dead that fit?")
        await screen.press("y")
        await screen.shows("Groups of 3 failed jobs: 1")

    on_screen(api, scenario)
    assert api.queue("mail").size == 4


# -- queues, processes, periodic jobs --------------------------------------------------------------


def test_queues_are_paused_moved_and_cleared(api: Api) -> None:
    push(api, "mail", *(job(number, "Mail", "mail") for number in range(250)))

    async def scenario(screen: Screen) -> None:
        await screen.press("4")
        await screen.shows("Queues: 1, 250 jobs")
        await screen.press("p")
        await screen.tells("Queue mail is paused")
        await screen.shows("1 paused")
        await screen.press("p")
        await screen.tells("Queue mail is no longer paused")
        await screen.press("M")
        await screen.shows("Move: to which queue")
        await screen.type("slow")
        await screen.press("y")
        await screen.tells("Moved 250 jobs to queue slow.")
        await screen.until(lambda: api.queue("slow").size == 250, "they are there")
        await screen.press("r")
        await screen.shows("slow", "250")
        await screen.press("g", "G", "C")
        await screen.shows("Clear all 250 jobs of slow?")
        await screen.press("n")
        assert api.queue("slow").size == 250
        await screen.press("C", "y")
        await screen.tells("Deleted 250 jobs of queue slow.")

    on_screen(api, scenario)
    assert api.queue("slow").size == 0


def test_marked_processes_are_told_to_be_quiet_and_to_stop(api: Api) -> None:
    for name in ("web1:7:aa", "web2:8:bb", "web3:9:cc"):
        works(api, name, 1)

    async def scenario(screen: Screen) -> None:
        await screen.press("3")
        await screen.shows("Processes: 3 on")
        await screen.press("x", "x", "Q")
        await screen.shows("Quiet 2 processes?")
        await screen.press("y")
        await screen.tells("2 processes have been told to take no new jobs.")
        await screen.press("G", "T")
        await screen.shows("Stop web3:9:cc?")
        await screen.press("y")
        await screen.tells("web3:9:cc has been told to stop.")
        await screen.press("slash")
        await screen.type("web2")
        await screen.shows("1 with /web2")

    on_screen(api, scenario)
    told = {
        name: api.redis.lrange(api.keys.signals(name), 0, -1) for name in ("web1:7:aa", "web3:9:cc")
    }
    assert told == {"web1:7:aa": [b"TSTP"], "web3:9:cc": [b"TERM"]}


def test_of_a_process_that_has_ended_or_takes_no_signals_that_is_said(api: Api) -> None:
    works(api, "web1:7:aa", 1)
    beat(api, "web2:8:bb", {**NEW, "embedded": True})

    async def scenario(screen: Screen) -> None:
        await screen.press("3")
        await screen.shows("Processes: 2 on")
        await screen.press("G", "T")
        await screen.tells("web2:8:bb is a part of another program and takes no signals")
        await screen.press("g", "T")
        await screen.shows("Stop web1:7:aa?")
        api.redis.delete(api.keys.process("web1:7:aa"))
        await screen.press("y")
        await screen.tells("web1:7:aa has ended.")

    on_screen(api, scenario)
    assert not api.redis.exists(api.keys.signals("web1:7:aa"))


def test_periodic_jobs_are_paused_and_run(api: Api) -> None:
    store(api, "shop", "report", cron="30 2 * * *")

    async def scenario(screen: Screen) -> None:
        await screen.press("0")
        await screen.shows("report")
        await screen.press("p")
        await screen.tells("report is paused")
        await screen.shows("1 paused")
        await screen.press("p")
        await screen.tells("report goes on")
        await screen.press("R", "y")
        await screen.tells("Pushed a job of report.")
        await screen.press("enter")
        await screen.shows("Periodic job report", "application", "run ")

    on_screen(api, scenario)
    assert api.queue("default").size == 1


def test_one_class_over_time(api: Api) -> None:
    counts = Metrics()
    for seconds in (0.01, 0.2, 0.2, 3.0):
        counts.done("Mail", seconds)
    counts.send(api.redis, api.keys)

    async def scenario(screen: Screen) -> None:
        await screen.press("9")
        await screen.shows("Mail")
        await screen.press("enter")
        await screen.shows(
            "Class Mail", "4 done, 0 failed in the last hour", "half under", "executed"
        )
        await screen.press("m")
        await screen.shows("in the last 8 hours")
        await screen.press("m")
        await screen.shows("in the last 3 days")

    on_screen(api, scenario)


# -- what others have written, small screens, the help ---------------------------------------------


def test_nothing_harmful_reaches_the_screen(api: Api) -> None:
    nasty = "\x1b[31m\x9b2J\r\n[bold]\u202e\x00[/bold][@click=quit]" + "x" * 2_000_000
    push(api, nasty[:50], job(1, nasty, nasty[:50], args=[nasty]), *HOSTILE)
    for key in ("retry", "dead", "schedule"):
        bad = failed(1, error_class=nasty, error_message=nasty, tags=[nasty], args=[nasty])
        api.redis.zadd(key, {bad: 1.0, **dict.fromkeys(HOSTILE, 2.0)})
    works(api, f"web{nasty[:40]}:7:aa", 5)
    running = {"queue": nasty, "payload": job(5, nasty, args=[nasty]).decode(), "run_at": 5}
    api.redis.hset(api.keys.work(f"web{nasty[:40]}:7:aa"), "t2", json.dumps(running))

    async def scenario(screen: Screen) -> None:
        for key in "1234567890bwua":
            await screen.press(key)
            await screen.until(lambda: screen.app._due.get(screen.app.page, 0), key)
            seen = [screen.text]
            if key in "24567":
                await screen.press("enter", "r")
                await screen.until(lambda: screen.app._due.get(screen.app.page, 0), f"{key} in")
                seen.append(screen.text)
            for text in seen:
                assert text.replace("\n", "").isprintable(), ascii(text)
                assert max(map(len, text.splitlines())) <= 80
        await screen.press("5")
        await screen.shows("\\x1b[31m")

    on_screen(api, scenario)


def test_twenty_columns_and_a_resize(api: Api) -> None:
    fill(api, "retry", 30)

    async def scenario(screen: Screen) -> None:
        await screen.shows("< 1Home >")
        for key in "1234567890bwua":
            await screen.press(key)
            await screen.until(lambda: screen.app._due.get(screen.app.page, 0), key)
            assert max(map(len, screen.text.splitlines())) <= 20
        await screen.press("5")
        await screen.shows("NEXT RUN", "in 23h")
        await screen.resize(120, 30)
        await screen.shows("2Busy", "0Cron", "aAudit", "ARGUMENTS", "KeyError: no user 0")
        await screen.resize(3, 2)
        await screen.resize(80, 24)
        await screen.shows("KeyError: no user 0")

    on_screen(api, scenario, size=(20, 10))


def test_the_help_knows_the_keys_of_the_page(api: Api) -> None:
    async def scenario(screen: Screen) -> None:
        await screen.press("7", "question_mark")
        await screen.shows("Dead", "put jobs into their queues now", "Everywhere")
        assert "move jobs to the dead set" not in screen.text
        await screen.press("escape", "5", "question_mark")
        await screen.shows("move jobs to the dead set")

    on_screen(api, scenario, size=(80, 40))


def test_the_cursor_stays_on_its_row(api: Api) -> None:
    fill(api, "retry", 10)

    async def scenario(screen: Screen) -> None:
        await screen.press("5")
        await screen.shows("Retries: 1 to 10 of 10")
        await screen.press("j", "j", "j")
        api.redis.zremrangebyrank("retry", 0, 1)
        api.redis.zadd("retry", {failed(99): 5.0})
        await screen.shows("Retries: 1 to 9 of 9")
        await screen.press("R")
        await screen.tells("Put into their queues: 1 job.")

    on_screen(api, scenario)
    [taken] = api.queue("mail")
    assert taken.args == [3]
