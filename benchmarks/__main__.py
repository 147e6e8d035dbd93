"""``python -m benchmarks``: measure, print, write."""

from __future__ import annotations

import argparse
import importlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Figure, figures
from benchmarks.plan import Plan

MEASURES = (
    "limits",
    "drains",
    "enqueue",
    "latency",
    "network",
    "due",
    "depth",
    "idle",
    "recovery",
    "memory",
)
# Seconds of nothing to do tell little in a quick run.
_NOT_QUICK = ("idle", "memory", "depth")

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
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
    measured: dict[str, Any] = {}
    reached: list[Figure] = []
    written: list[Path] = []
    for name in chosen:
        print(f"\n== {name} ({plan.rounds} rounds)", flush=True)
        began = time.monotonic()
        measure = importlib.import_module(f"benchmarks.measures.{name}").measure
        # A server of its own for every subject: what one leaves behind slows no other.
        with Bench(options.redis) as bench:
            measured[name] = measure(bench, plan)
        measured[name]["took"] = round(time.monotonic() - began, 1)
        _show(name, measured[name])
        reached = figures(measured)
        summary = {
            "machine": report.machine(),
            "rounds": plan.rounds,
            "quick": plan.quick,
            "figures": [{**asdict(figure), "passed": figure.passed} for figure in reached],
            "measured": measured,
        }
        # After each of them: a run that is interrupted has not been for nothing.
        written = report.write(options.results, summary)
    print(f"\n{report.figures_table(reached)}")
    for path in written:
        print(f"written: {path}")
    return 0


def _show(name: str, result: dict[str, Any]) -> None:
    match name:
        case "drains":
            print(report.drains_table(result))
        case "enqueue":
            print(report.enqueue_table(result))
        case _:
            print(report.plain(name, result))
    for failure in result.get("failures", ()):
        print(f"FAILED {failure}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under two minutes")
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
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
