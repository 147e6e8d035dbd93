"""Batches, workflows, the trash and the audit log, in a real terminal: the keyboard alone does it.
And what is said of something long that was stopped."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd.api import Api
from jobd.jobs.app import App
from jobd.testing import EmbeddedServer
from tests.support.daemon import environment, wait
from tests.support.workflows import end, jobs_of, order
from tests.top.terminal import Terminal, top
from tests.top.test_pages import fill

NASTY = "\x1b[31mInvoices[bold]\u202e of May"


DIES = """
import os, sys, jobd

app = jobd.App()
app.configure(sys.argv[1])
note = app.job(name="note")(lambda value: value)
with jobd.Batch("Lost", client=app.client) as batch:
    note.perform_bulk([[number] for number in range(1001)])
    print(batch.bid, flush=True)
    os._exit(0)
"""


def batch(url: str, description: str, jobs: int) -> jobd.Batch:
    app = App()
    app.configure(url)
    note: Any = app.job(name="note")(lambda value: value)
    with jobd.Batch(description, client=app.client) as made:
        note.perform_bulk([[number] for number in range(jobs)])
    return made


def lost_batch(url: str) -> str:
    """The id of a batch whose producer has died before its block ended."""
    line = [sys.executable, "-c", DIES, url]
    return subprocess.run(
        line, env=environment(), stdout=subprocess.PIPE, check=True, timeout=60, text=True
    ).stdout.strip()


def test_batches_are_watched_cancelled_closed_and_deleted(
    terminal: Terminal, server: EmbeddedServer, api: Api
) -> None:
    invoices = batch(server.url, NASTY, 3)
    lost = lost_batch(server.url)
    top(terminal, server.url)
    terminal.shows("1Home", "0Cron b w u a")
    terminal.press("b")
    seen = terminal.fills("Batches: 1 to 2 of 2", "Lost", "0/1,000", "open", "bBatches wWorkflows")
    assert "\u202e" not in seen
    assert "\\x1b[31mInvoices" in seen
    terminal.press("C")
    terminal.tells(f"Closed 1 block of batch {lost}.")
    terminal.shows("running")
    terminal.press("C")
    terminal.tells(f"batch {lost} is running: there is nothing to close")
    terminal.press("G", "Enter")
    terminal.shows(f"Batch {invoices.bid}", "0 of 3 (0%) have ended", "pushed", "X Cancel")
    wait(lambda: "C Close" not in terminal.text, 60, "no block is open")
    terminal.press("X")
    terminal.shows("Nothing can be added any more.", f"{invoices.bid}?", "y yes")
    terminal.press("n")
    wait(lambda: "y yes" not in terminal.text, 60, "the question is gone")
    terminal.press("X")
    terminal.shows("y yes")
    terminal.press("y")
    terminal.tells(f"Batch {invoices.bid} is cancelled: 3 jobs were taken out or told.")
    terminal.shows("3 of 3 (100%) have ended", "3 cancelled")
    assert api.queue("default").size == 1000
    terminal.press("Escape")
    terminal.shows("Batches: 1 to 2 of 2", "cancelled")
    terminal.press("g", "D")
    terminal.shows("Its callbacks are never pushed.", f"{lost}?")
    terminal.press("y")
    terminal.shows("Batches: 1 to 1 of 1")
    terminal.press("?")
    terminal.shows("cancel a batch: take out jobs that wait", "b, w, u, a")
    terminal.press("Escape")
    terminal.shows("Batches: 1 to 1 of 1", "bBatches")
    terminal.press("q")
    terminal.shows("exit code 0")
    done = {one.action for one in api.audit.page()}
    assert done == {"close batch", "cancel batch", "cancel", "delete batch"}


def test_a_workflow_goes_on_and_is_cancelled(
    terminal: Terminal, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    ref = order(jobs_of(server.url))
    end(redis, "", "failed")
    end(redis, "")
    top(terminal, server.url)
    terminal.press("w")
    terminal.shows("Workflows: 1 to 1 of 1", ref, "failed", "0/6")
    terminal.press("Enter")
    terminal.fills("0 of 6 steps done", "shop.charge", "ValueError: no money", "R Retry")
    terminal.press("R")
    terminal.shows("Pushed 1 step again.", ": running", "X Cancel")
    terminal.press("g", "Enter")
    terminal.shows("Job ", "shop.charge", "queue default")
    terminal.press("Escape")
    terminal.shows("0 of 6 steps done")
    end(redis, "")
    terminal.shows("1 of 6 steps done")
    terminal.press("X")
    terminal.shows("No step begins any more.", f"{ref}?")
    terminal.press("y")
    terminal.tells(f"Workflow {ref} is cancelled.")
    terminal.shows("by a user")
    terminal.press("Escape")
    terminal.shows("Workflows: 1 to 1 of 1", "1/6")
    terminal.press("R")
    terminal.tells(f"workflow {ref} is running: there is nothing to retry")


def test_what_was_deleted_is_looked_at_restored_and_gone_for_good(
    terminal: Terminal, server: EmbeddedServer, api: Api
) -> None:
    fill(api, "dead", 250)
    fill(api, "retry", 3)
    acting = api.acting_as("alice")
    acting.dead.clear()
    for entry in list(acting.retries):
        acting.retries.delete(entry)
    top(terminal, server.url)
    terminal.press("u")
    terminal.fills("Trash: 1 to 4 of 4", "alice", "dead", "250", "uTrash")
    terminal.press("G", "Enter")
    terminal.shows("clear of dead by alice: 1 to 100 of 250", "Mail")
    terminal.press("l", "l")
    terminal.shows("201 to 250 of 250")
    terminal.press("h")
    terminal.shows("101 to 200 of 250")
    terminal.press("Enter")
    terminal.shows(" in the trash", "KeyError: no user")
    terminal.press("Escape")
    terminal.shows("101 to 200 of 250")
    terminal.press("R")
    terminal.shows("Put 250 jobs back where they were?")
    terminal.press("y")
    terminal.shows("Restored 250 jobs.")
    assert api.dead.size == 250
    terminal.press("Escape")
    terminal.shows("Trash: 1 to 3 of 3")
    terminal.press("D")
    terminal.shows("They cannot be restored afterwards. Delete for good 1")
    terminal.press("y")
    terminal.shows("Trash: 1 to 2 of 2")
    terminal.press("E")
    terminal.shows("They cannot be restored afterwards. Empty the trash?")
    terminal.press("y")
    terminal.shows("Deleted 2 jobs for good.", "Trash: none")
    terminal.press("E")
    terminal.shows("y yes")
    terminal.press("y")
    terminal.shows("Deleted 0 jobs for good.")


def test_the_audit_log_is_paged_and_its_entries_are_shown(
    terminal: Terminal, server: EmbeddedServer, api: Api
) -> None:
    fill(api, "dead", 1)
    for number in range(230):
        api.acting_as("alice").queue(f"queue{number}").pause()
    api.acting_as("bob\x1b[2J").dead.clear()
    top(terminal, server.url)
    terminal.press("a")
    terminal.fills("Audit log: 231 entries, the last", "bob\\x1b[2J", "clear", "queue229")
    terminal.press("l", "l", "l")
    terminal.shows("page 2", "queue:queue130 ")
    terminal.press("l")
    terminal.shows("page 3", "queue:queue30 ")
    terminal.press("G")
    terminal.shows("queue:queue0 ")
    terminal.press("l", "h")
    terminal.shows("page 2", "queue:queue130 ")
    terminal.press("h")
    terminal.shows("change first\n", "queue229")
    terminal.press("Enter")
    terminal.shows("Change ", "who     bob\\x1b[2J", "action  clear", "target  dead")
    terminal.press("Escape")
    terminal.shows("Audit log: 231")
    terminal.press("/")
    terminal.shows("Audit log with")
    terminal.press("queue229", "Enter")
    terminal.shows("1 with /queue229")


# -- something long that is stopped ----------------------------------------------------------------


def killing(terminal: Terminal, server: EmbeddedServer, api: Api) -> None:
    """All retries are being killed, and Redis holds back the first step."""
    fill(api, "retry", 3_000)
    top(terminal, server.url)
    terminal.press("5")
    terminal.shows("Retries: 1 to 100 of 3,000")
    terminal.press("A", "A", "K")
    terminal.shows("Killed jobs go to the dead set", "3,000 jobs of retries?")
    api.redis.client_pause(100_000, all=False)
    terminal.press("y")
    terminal.shows("esc stops between two steps")


@pytest.mark.parametrize("key", ["Escape", "C-c"])
def test_a_long_action_that_is_stopped_says_what_it_has_done(
    key: str, terminal: Terminal, server: EmbeddedServer, api: Api
) -> None:
    killing(terminal, server, api)
    terminal.press(key)
    terminal.shows("stops after this step")
    api.redis.client_unpause()
    seen = terminal.shows("stopped: the others were", "U undoes it.")
    killed = api.dead.size
    assert 0 < killed < 3_000
    assert api.retries.size == 3_000 - killed
    assert f"Killed {killed:,} jobs. U undoes it." in seen
    terminal.press("q")
    terminal.shows("exit code 0")


@pytest.mark.parametrize("how", ["C-c", "TERM"])
def test_the_program_that_ends_during_a_long_action_says_how_far_it_was(
    how: str, terminal: Terminal, server: EmbeddedServer, api: Api
) -> None:
    killing(terminal, server, api)
    if how == "C-c":
        terminal.press("C-c", "C-c")
    else:
        terminal.signal("TERM")
    seen = " ".join(terminal.shows("exit code 130").split())
    api.redis.client_unpause()
    assert "Not finished: Kill: all 3,000 jobs of retries: nothing so far." in seen
    wait(lambda: api.dead.size + api.retries.size == 3_000, 30, "no job is lost")
