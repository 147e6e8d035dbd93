"""The benchmarks themselves: every contender that is installed runs, and a report comes out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load.backlog import QUEUE, Sizes
from benchmarks.measures import dashboard, drains
from benchmarks.report import publish, summary
from benchmarks.report.figures import Figure, figures
from benchmarks.report.tables import tables
from benchmarks.run import bench as bench_module
from benchmarks.run import plan as plan_module
from benchmarks.run.bench import Bench
from benchmarks.run.contenders import CONTENDERS, JOBD, Contender
from benchmarks.run.plan import Plan, medians, percentile, ratio

HERE = [each for each in CONTENDERS if not each.missing]


@pytest.mark.parametrize("contender", HERE, ids=lambda each: each.name)
def test_a_contender_runs_every_job_once(contender: Contender) -> None:
    with Bench() as bench:
        bench.stock(contender, "empty", 50)
        with bench.workers(contender, 1):
            before = bench.tally.total()
            assert bench.drain(contender, "empty", 50) > 0
            assert bench.drain(contender, "empty", 20) > 0
            assert bench.tally.total() == before + 70
        if contender is JOBD:
            assert int(bench.redis.get("stat:processed") or 0) == bench.tally.total()


def test_a_report_has_a_table_and_is_json(tmp_path: Path) -> None:
    with Bench() as bench:
        result = drains.measure(bench, Plan(rounds=1, quick=True, names=frozenset({"jobd"})))
    assert not result["failures"]
    measured = {"drains": result}
    reached = [{**asdict(each), "passed": each.passed} for each in figures(measured)]
    made = tables(measured, reached)
    assert "jobd" in made["drains"].text()
    assert "1 ms of CPU" in made["figures"].markdown()
    machine = summary.machine("valkey 9")
    for path in summary.write(tmp_path, {"measured": measured, "machine": machine}):
        assert path.stat().st_size > 100
    assert json.loads((tmp_path / "latest.json").read_text())["measured"]["drains"]["unit"]


def test_ratios_are_taken_round_by_round() -> None:
    # The whole second round ran at half speed: the ratio does not notice.
    assert ratio({"a": [10, 5, 10], "b": [5, 2.5, 5]}, "a", "b") == 2
    assert ratio({"a": [1.0]}, "a", "b") is None
    # A failed measurement neither counts nor shifts the rounds against each other.
    assert ratio({"a": [None, 4.0], "b": [1.0, 2.0]}, "a", "b") == 2
    assert medians({"a": [None, 4.0], "b": [None]}) == {"a": 4.0, "b": None}
    assert percentile([float(n) for n in range(1, 101)], 99) == 100


def test_a_figure_is_not_passed_unless_it_was_measured() -> None:
    assert Figure("x", 2, None).passed is None
    assert Figure("x", 2, 2).passed
    assert not Figure("x", 2, 1.9).passed
    assert not Figure("x", 2, 2.1, most=True).passed
    assert Figure("x", None, 2).passed is None


def test_a_contender_that_fails_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "READY_SECONDS", 0.5)
    broken = replace(JOBD, commands=lambda processes, quiet: [["true"]])
    monkeypatch.setattr(plan_module, "CONTENDERS", (broken,))
    with Bench() as bench:
        result = drains.measure(bench, Plan(rounds=1, quick=True))
    assert set(result["median"].values()) == {None}
    assert len(result["failures"]) == len(result["median"]) == 5
    assert "FAILED" in tables({"drains": result}, [])["drains"].text()


def test_the_dashboard_is_measured_in_front_of_a_large_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = Sizes(queued=3_000, set=300, processes=4, audit=50)
    monkeypatch.setattr(dashboard, "SMALL", tiny)
    monkeypatch.setattr(dashboard, "PAGES_OPEN", 3)
    for name in ("_PASS_SECONDS", "_SETTLE", "_WITHOUT"):
        monkeypatch.setattr(dashboard, name, 0.1)
    with Bench() as bench:
        result = dashboard.measure(bench, Plan(rounds=1, quick=True))
        assert bench.redis.llen(f"queue:{QUEUE}") == tiny.large, "restored after all that was done"
    measured = {"dashboard": result}
    assert all(each.reached is not None for each in figures(measured) if "dashboard" in each.name)
    assert all(page["p95"] > 0 for page in result["pages"].values() if "p95" in page)
    assert "queue, middle" in tables(measured, [])["dashboard"].markdown()
    assert result["open pages"]["refreshes"] > 0


def test_a_later_run_joins_the_published_one() -> None:
    def run(date: str, subject: str, name: str, reached: float | None) -> dict[str, Any]:
        versions = {"valkey": "9"}
        about = {"date": date, "cores": 2, "cpu": "x", "kernel": "6", "python": "3", "load": 0}
        return {
            "machine": {**about, "versions": versions},
            "rounds": 3,
            "quick": False,
            "figures": [
                {**asdict(each), "passed": each.passed}
                for each in (Figure(name, 1, reached), Figure("never", 1, None))
            ],
            "measured": {subject: {"unit": date}},
        }

    first = run("2026-11-01", "idle", "a", 1.0)
    once = publish.joined(first, run("2026-11-02", "dashboard", "b", 2.0))
    twice = publish.joined(once, run("2026-11-03", "dashboard", "b", 3.0))
    assert {name: one["unit"] for name, one in twice["measured"].items()} == {
        "idle": "2026-11-01",
        "dashboard": "2026-11-03",
    }
    assert [(one["name"], one["reached"]) for one in twice["figures"]] == [
        ("a", 1.0),
        ("never", None),
        ("b", 3.0),
    ]
    assert [one["subjects"] for one in twice["further"]] == [["dashboard"]]
    text = publish.filled("<!-- bench: machine --><!-- /bench -->", {**twice, "measured": {}})
    assert "2026-11-01" in text
    assert "dashboard: 2026-11-03" in text
    assert "2026-11-02" not in text


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_published_numbers_are_those_of_the_committed_run(page: Path) -> None:
    summary = json.loads(publish.RESULT.read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    assert "<!-- bench: " in text
    assert publish.filled(text, summary) == text
