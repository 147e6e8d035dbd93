"""``python -m benchmarks``: measure, print, write."""

from __future__ import annotations

import argparse
import importlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.report.figures import figures
from benchmarks.report.publish import publish
from benchmarks.report.summary import machine, write
from benchmarks.report.tables import Table, tables
from benchmarks.run.bench import FAILURES, Bench
from benchmarks.run.contenders import CONTENDERS
from benchmarks.run.plan import Plan

MEASURES = (
    "limits",
    "drains",
    "enqueue",
    "latency",
    "network",
    "attachments",
    "batches",
    "workflows",
    "due",
    "depth",
    "idle",
    "coroutines",
    "recovery",
    "memory",
    "dashboard",
    "terminal",
)
# Seconds of nothing to do tell little in a quick run.
_NOT_QUICK = ("idle", "coroutines", "memory", "depth")

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.publish:
        publish(*options.publish)
        return 0
    only = set(options.only or ())
    chosen = [
        each
        for each in MEASURES
        if (each in only if only & set(MEASURES) else not (options.quick and each in _NOT_QUICK))
    ]
    plan = Plan(
        rounds=options.rounds or (1 if options.quick else 3),
        quick=options.quick,
        names=frozenset(only - set(MEASURES)),
    )
    for contender in CONTENDERS:
        if contender.missing:
            print(f"without {contender.name}: {contender.missing}")
    with Bench(options.redis) as bench:
        where = machine(bench.server)
    print(f"load average {where['load']}, {where['cores']} cores")
    measured: dict[str, Any] = {}
    reached: list[dict[str, Any]] = []
    written: list[Path] = []
    for name in chosen:
        print(f"\n== {name} ({plan.rounds} rounds)", flush=True)
        measured[name] = _measure(name, options.redis, plan)
        reached = [{**asdict(each), "passed": each.passed} for each in figures(measured)]
        _show(name, measured[name], tables(measured, reached))
        summary = {
            "machine": where,
            "rounds": plan.rounds,
            "quick": plan.quick,
            "figures": reached,
            "measured": measured,
        }
        # After each of them: a run that is interrupted has not been for nothing.
        written = write(options.results, summary)
    print(f"\n{tables({}, reached)['figures'].text()}")
    for path in written:
        print(f"written: {path}")
    return 0


def _measure(name: str, url: str, plan: Plan) -> dict[str, Any]:
    measure = importlib.import_module(f"benchmarks.measures.{name}").measure
    began = time.monotonic()
    # A server of its own for every subject: what one leaves behind slows no other.
    try:
        with Bench(url) as bench:
            result: dict[str, Any] = measure(bench, plan)
    except FAILURES as error:
        # The other subjects have nothing to do with it.
        result = {"error": str(error)}
    return {**result, "took": round(time.monotonic() - began, 1)}


def _show(name: str, result: dict[str, Any], made: dict[str, Table]) -> None:
    if name in made:
        print(made[name].text())
    for failure in result.get("failures", ()):
        print(f"FAILED {failure}")
    if "error" in result:
        print(f"FAILED {name}: {result['error']}")
    print(f"({result['took']:.0f} s)", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, a few minutes")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=[*MEASURES, *(each.name for each in CONTENDERS)],
        help=f"measure only this (repeatable): {', '.join(MEASURES)}; or only this contender",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="default 3, quick 1")
    parser.add_argument(
        "--redis",
        default="",
        metavar="URL",
        help="a server to use (TCP) instead of the embedded one; ALL ITS DATA IS DELETED",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="where JSON and plot go, default benchmarks/results",
    )
    parser.add_argument(
        "--publish",
        type=Path,
        nargs="+",
        metavar="RESULT.json",
        help="measure nothing; put the numbers of that run into the docs and the README, and those "
        "of further runs in the place of its own as far as they measured the same",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
