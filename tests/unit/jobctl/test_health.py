"""What `jobctl status --check` makes of an answer."""

from __future__ import annotations

import click
import msgspec
import pytest

from jobctl.codes import Code
from jobctl.daemon.display import status
from jobctl.daemon.health import verdict
from jobd.master.control.messages import DaemonStatus, PartialStatus

CHILD = {"role": "worker.0", "pid": 7, "state": "ready", "reason": "", "trouble": ""}
CHILD |= dict.fromkeys(["generation", "uptime", "busy", "processed", "failed", "rss", "memory"], 1)


def answer(**changes: object) -> DaemonStatus:
    fine = {"state": "running", "cause": "started", "degraded": False, "crash_loop": ""}
    fine |= {"outage": None, "reload_trouble": "", "unrecovered": 0, "backing_off": []}
    fine |= {
        "memory_short": "",
        "log_trouble": "",
        "version": "0",
        "redis": "",
        "logfile": "",
        "queues": [],
    }
    fine |= dict.fromkeys(["pid", "uptime", "generation", "rss", "concurrency"], 1)
    fine |= {"keeper": {**CHILD, "role": "keeper", "pid": 8}, "zygotes": [], "workers": [CHILD]}
    return msgspec.convert({**fine, **changes}, DaemonStatus)


def worker(**changes: object) -> list[dict[str, object]]:
    return [{**CHILD, **changes}]


OUTAGE = {"seconds": 12.0, "error": "Error 111", "processes": ["keeper"]}
CASES: dict[str, tuple[dict[str, object], Code, str]] = {
    "fine": ({}, Code.DONE, "ok: running, 1 of 1 workers ready"),
    "reloading": ({"state": "reloading"}, Code.DONE, "ok: reloading"),
    "crash loop": (
        {"degraded": True, "crash_loop": "6 crashes"},
        Code.DEGRADED,
        "crash loop: 6 crashes (running, 1 of 1 workers ready)",
    ),
    "outage": ({"outage": OUTAGE}, Code.NO_REDIS, "Redis unavailable for 12 s: Error 111"),
    "quiet": ({"state": "quiet", "cause": "me"}, Code.NOT_SERVING, "takes no jobs: quiet (me)"),
    "starting": ({"state": "starting"}, Code.NOT_SERVING, "takes no jobs: starting"),
    "stopping": ({"state": "stopping"}, Code.NOT_SERVING, "takes no jobs: stopping"),
    "no worker": ({"workers": []}, Code.NOT_SERVING, "no worker is ready"),
    "booting": ({"workers": worker(state="booting")}, Code.NOT_SERVING, "no worker is ready"),
    "back-off": (
        {"backing_off": [{"role": "worker.1", "seconds": 3.0, "cause": "exit code 1"}]},
        Code.TROUBLE,
        "worker.1 has crashed: exit code 1 (running, 1 of 2 workers ready)",
    ),
    "to be started": (
        {"empty": ["worker.1", "keeper"]},
        Code.DONE,
        "ok: running, 1 of 2 workers ready",
    ),
    "replaced": (
        {"workers": [*worker(state="booting"), *worker(), *worker(state="stopping")]},
        Code.DONE,
        "ok: running, 1 of 1 workers ready",
    ),
    "hung": ({"workers": worker(trouble="hung")}, Code.TROUBLE, "worker.0 (pid 7) hung"),
    "one is quiet": (
        {"workers": [*worker(), *worker(role="worker.1", state="quiet", reason="signal USR1")]},
        Code.TROUBLE,
        "worker.1 (pid 7) is quiet: signal USR1",
    ),
    "failed reload": (
        {"reload_trouble": "reload failed: no module"},
        Code.TROUBLE,
        "reload failed: no module",
    ),
    "full": ({"memory_short": "nearly full"}, Code.TROUBLE, "nearly full"),
    "log": ({"log_trouble": "log records are lost"}, Code.TROUBLE, "log records are lost"),
    "unrecovered": ({"unrecovered": 2}, Code.TROUBLE, "jobs of 2 dead workers"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_code_and_the_line_say_what_is_wrong(case: str) -> None:
    changes, code, text = CASES[case]
    found, line = verdict(answer(**changes))
    assert (found, text in line) == (code, True), line
    assert "\n" not in line


def test_the_worst_counts_and_all_is_told() -> None:
    code, line = verdict(
        answer(unrecovered=1, outage=OUTAGE, degraded=True, crash_loop="6 crashes", state="quiet")
    )
    assert code == Code.DEGRADED
    parts = ["crash loop: 6", "Redis unavailable", "takes no jobs", "dead workers"]
    assert [part for part in parts if part in line] == parts
    assert sorted(parts, key=line.index) == parts


@pytest.mark.parametrize(
    ("state", "worker_state", "said"),
    [("running", "booting", True), ("running", "ready", False), ("starting", "booting", False)],
)
def test_the_first_line_of_status_says_that_no_jobs_are_taken(
    state: str, worker_state: str, said: bool
) -> None:
    shown = answer(state=state, workers=worker(state=worker_state))
    printed = status(msgspec.convert(msgspec.to_builtins(shown), PartialStatus))
    first = click.unstyle(printed).splitlines()[0]
    assert first.startswith(state.upper())
    assert (" · no worker is ready · " in first) is said
