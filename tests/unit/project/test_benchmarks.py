"""The benchmarks themselves: every contender that is installed runs, and a report comes out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import work
from benchmarks.load.backlog import QUEUE, Sizes
from benchmarks.measures import coroutines, dashboard, drains
from benchmarks.measures.coroutines import asleep
from benchmarks.report import publish, summary
from benchmarks.report.figures import Figure, figures
from benchmarks.report.tables import tables
from benchmarks.run import bench as bench_module
from benchmarks.run import plan as plan_module
from benchmarks.run import served
from benchmarks.run.bench import Bench
from benchmarks.run.contenders import BY_NAME, CONTENDERS, JOBD, Contender, Kind
from benchmarks.run.footprint import Watch, families, pss
from benchmarks.run.plan import Plan, Samples, medians, percentile, ratio
from tests.support.engine import until
from tests.support.versions import unfit

HERE = [each for each in CONTENDERS if not each.missing and not unfit(each.name)]


@pytest.mark.parametrize("contender", HERE, ids=lambda each: each.name)
def test_a_contender_runs_every_job_once(contender: Contender) -> None:
    with Bench() as bench:
        kinds = ["empty", "async"] if contender.coroutines else ["empty"]
        for kind in kinds:
            bench.stock(contender, kind, 50)
        with bench.workers(contender, 1):
            before = bench.tally.total()
            for kind in kinds:
                # The same jobs again at once: nothing that belongs to them may be missing.
                for jobs in (50, 20, 50):
                    assert bench.drain(contender, kind, jobs) > 0
            assert bench.tally.total() == before + 120 * len(kinds)
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


def test_the_headline_names_the_fastest_of_those_that_were_measured() -> None:
    """Of each kind of job the fastest peer, and beside it all that it was measured against."""

    def headline(rates: dict[str, float]) -> str:
        samples: Samples = {f"{name}/warning": [rate] for name, rate in rates.items()}
        measured = {"drains": {"samples": samples, "median": medians(samples)}}
        versions = {"dramatiq": "2", "ardiq": "3", "rq": "4", "streaq": "5", "sidekiq": "6"}
        return publish.headline(
            {
                "machine": {"versions": versions},
                "figures": [asdict(each) for each in figures(measured)],
                "measured": measured,
            }
        )

    rates = {"jobd/1/empty": 100.0, "dramatiq/1/empty": 5.0, "rq/1/empty": 4.0}
    assert headline(rates) == (
        "20 × the empty jobs a second of dramatiq, the fastest of the Python tools measured with "
        "it (dramatiq 2, rq 4); one run"
    )
    rates |= {"streaq/1/empty": 10.0, "sidekiq/1/empty": 50.0}
    rates |= {"jobd/1/async": 90.0, "ardiq/1/async": 30.0, "streaq/1/async": 3.0}
    assert headline(rates) == (
        "10 × the empty jobs a second of streaq and 3 × the empty async jobs a second of ardiq, "
        "each the fastest of the Python tools measured with it "
        "(dramatiq 2, rq 4, streaq 5, ardiq 3); "
        "2 × Sidekiq 6; one run"
    )


def test_a_stream_and_a_sorted_set_appear_at_once_and_in_part() -> None:
    with Bench() as bench:
        for kind in (Kind.STREAM, Kind.SORTED_SET):
            queue = replace(JOBD, kind=kind, queue=f"of {kind.name}")
            stash = "stash:jobd:empty"
            bench.redis.delete(stash)
            for number in range(5):
                if kind is Kind.STREAM:
                    bench.redis.xadd(stash, {"task_id": str(number)})
                else:
                    bench.redis.zadd(stash, {str(number): number})
            for _ in range(2):
                bench.lay_out(queue, "empty", 3)
                bench.appear(queue, "empty", 3)
        stream: Any = bench.redis.xrange("of STREAM")
        assert [entry[b"task_id"] for _, entry in stream] == [b"0", b"1", b"2"] * 2
        assert bench.redis.zrange("of SORTED_SET", 0, -1) == [b"0", b"1", b"2"]


def test_memory_is_that_of_a_tools_processes() -> None:
    with Bench() as bench:
        bench.stock(JOBD, "async", 40)
        with bench.workers(JOBD, 1, at_once=20) as pids, Watch(pids) as memory:
            bench.drain(JOBD, "async", 40)
            assert bench.tally.total() >= 40
            (worker,) = bench.tally.processes()
            assert worker in families(pids)
            assert 1 < pss(worker) < 1000
            until(lambda: memory.most > pss(pids[0]), "the memory of all processes")
        assert pss(worker) == 0, "it has ended"


def test_how_many_sleep_at_the_same_time_follows_from_when_they_wake_up() -> None:
    def trace(begins: list[float]) -> list[tuple[float, int]]:
        """Looks at jobs that sleep a little longer than they should."""
        looks = [at / 100 for at in range(5_000)]
        return [(at, sum(begin + 10.05 <= at for begin in begins)) for at in looks]

    assert asleep(trace([0, 0, 0, 0.5, 0.5]), 10.0) == 5
    assert asleep(trace([0, 0, 0, 10.1, 10.1]), 10.0) == 3
    assert asleep(trace([0, 3, 6, 9, 12, 15]), 10.0) == 4


def test_coroutines_are_measured_of_tools_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "NAP", 0.2)
    monkeypatch.setattr(coroutines, "MANY", 200)
    few = replace(JOBD, coroutines=5)
    monkeypatch.setattr(plan_module, "CONTENDERS", (few, replace(JOBD, name="no", coroutines=0)))
    with Bench() as bench:
        result = coroutines.measure(bench, Plan(quick=True))
    assert not result["failures"]
    assert result["contenders"].keys() == {"jobd"}
    assert "jobd" in tables({"coroutines": result}, [])["coroutines"].markdown()
    assert result["contenders"]["jobd"]["allowed"] == 5
    # Twenty, five at a time.
    assert result["contenders"]["jobd"]["seconds"] >= 4 * work.NAP
    assert 1 <= result["contenders"]["jobd"]["asleep"] <= 20


def test_a_peer_that_needs_a_newer_python_or_an_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    future = replace(BY_NAME["ardiq"], since=(4, 0))
    assert future.missing == "it needs Python 4.0 or newer"
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    arq = BY_NAME["arq"]
    assert "make bench" in arq.missing
    assert not arq.version
    program = Path(arq.python)
    assert program.is_relative_to(tmp_path)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 9.9\n")
    program.chmod(0o755)
    assert (arq.missing, arq.version) == ("", "9.9")


def test_every_contender_says_how_many_jobs_it_gets() -> None:
    plan = Plan()
    for contender in CONTENDERS:
        sizes = plan.drains(contender, 1)
        assert sizes["empty"] >= 100
        assert ("async" in sizes) == bool(contender.coroutines), contender.name
        assert plan.drains(contender, 2).keys() == sizes.keys() - {"logged"}


def test_a_contender_that_fails_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "READY_SECONDS", 0.5)
    broken = replace(JOBD, commands=lambda setup: [["true"]])
    monkeypatch.setattr(plan_module, "CONTENDERS", (broken,))
    with Bench() as bench:
        result = drains.measure(bench, Plan(rounds=1, quick=True))
    assert set(result["median"].values()) == {None}
    assert len(result["failures"]) == len(result["median"]) == 7
    assert "FAILED" in tables({"drains": result}, [])["drains"].text()


def test_the_dashboard_is_measured_in_front_of_a_large_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = Sizes(queued=3_000, set=300, processes=4, audit=50)
    monkeypatch.setattr(served, "SMALL", tiny)
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
