"""The benchmarks themselves: every contender that is installed runs, and a report comes out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import bench as bench_module
from benchmarks import plan as plan_module
from benchmarks import publish, report
from benchmarks.bench import Bench
from benchmarks.contenders import CONTENDERS, JOBD, Contender
from benchmarks.figures import Figure, figures
from benchmarks.measures import drains
from benchmarks.plan import Plan, medians, percentile, ratio
from benchmarks.tables import tables

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
    machine = report.machine("valkey 9")
    for path in report.write(tmp_path, {"measured": measured, "machine": machine}):
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


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_published_numbers_are_those_of_the_committed_run(page: Path) -> None:
    summary = json.loads(publish.RESULT.read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    assert "<!-- bench: " in text
    assert publish.filled(text, summary) == text
