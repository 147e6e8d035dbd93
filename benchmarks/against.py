"""``python -m benchmarks.against COMMIT``: whether HEAD is slower than an older commit.

Both are installed from clean checkouts into environments of their own, and measured in turn by the
benchmarks of this working tree: one ruler for both.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.__main__ import RESULTS
from benchmarks.report.compare import LEAST, Comparison, Rows, compare, rows, table
from benchmarks.run.bench import ROOT

MEASURES = (
    "drains",
    "enqueue",
    "latency",
    "network",
    "attachments",
    "batches",
    "due",
    "depth",
    "recovery",
    "memory",
    "idle",
)
"""Not the limits, which are those of the server, and not the dashboard."""

_AT_ONCE = ("idle",)
"""Measures of both at the same time: they have nothing to do and take a minute."""


@dataclass
class Side:
    """One of the two commits, installed."""

    name: str
    directory: Path
    rounds: list[Rows] = field(default_factory=list)

    def measure(self, name: str, *, quick: bool) -> Rows:
        """One round of it; empty where it failed."""
        command = [str(self.directory / "venv/bin/python"), "-m", "benchmarks"]
        only = ["--rounds", "1", "--only", name, "--only", "jobd", "--results", "results"]
        done = subprocess.run(
            [*command, *only, *(["--quick"] if quick else [])],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            if line.startswith("FAILED"):
                print(f"{self.name}: {line}")
        if done.returncode:
            print(f"FAILED {self.name}, {name}: {done.stderr.strip()[-1000:]}")
            return {}
        report: dict[str, Any] = json.loads((self.directory / "results/latest.json").read_text())
        return rows(name, report["measured"][name])


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where a row fails, 2 where nothing could be compared."""
    options = _parser().parse_args(arguments)
    count = options.rounds or (2 if options.quick else 5)
    try:
        commits = {"new": _commit("HEAD"), "old": _commit(options.commit)}
        if _git("status", "--porcelain", "--", "jobd", "jobctl", "setup.py"):
            print("what is not committed is not measured: new is HEAD")
        with tempfile.TemporaryDirectory(prefix="jobd-against-") as directory:
            sides = [
                _install(name, commit, Path(directory) / name) for name, commit in commits.items()
            ]
            for number in range(count):
                _round(number, count, sides, options.only or MEASURES, quick=options.quick)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd[:4]))} ...: {_said(error)}", file=sys.stderr)
        return 2
    compared = compare(*(side.rounds for side in sides))
    _write(options.results, commits, compared)
    print(f"\n{table(compared).text()}")
    print(f"\nnew is {commits['new'][:12]}, old is {commits['old'][:12]}; above 1, new is better;")
    print(f"the interval is that of the rounds, and a row fails where it is all below {LEAST}")
    return _verdict(compared)


def _verdict(compared: Sequence[Comparison]) -> int:
    if not any(each.interval for each in compared):
        print("nothing was measured of both", file=sys.stderr)
        return 2
    failed = [each.name for each in compared if each.failed]
    print(f"failed: {'; '.join(failed)}" if failed else "no row fails")
    return 1 if failed else 0


def _round(
    number: int, count: int, sides: Sequence[Side], measures: Sequence[str], *, quick: bool
) -> None:
    for side in sides:
        side.rounds.append({})
    # Who comes first has another machine than who comes second: in turn.
    turn = sides if number % 2 == 0 else sides[::-1]
    for name in measures:
        began = time.monotonic()
        with ThreadPoolExecutor(len(sides) if name in _AT_ONCE else 1) as pool:
            found = list(pool.map(partial(Side.measure, name=name, quick=quick), turn))
        for side, each in zip(turn, found, strict=True):
            side.rounds[-1].update(each)
        print(f"round {number + 1} of {count}: {name} ({time.monotonic() - began:.0f} s)")
        sys.stdout.flush()


def _install(name: str, commit: str, directory: Path) -> Side:
    """Its product from a clean checkout, and the benchmarks of this tree."""
    print(f"installing {name}, {commit[:12]} ...", flush=True)
    checkout = directory / "checkout"
    with tarfile.open(fileobj=io.BytesIO(_git_bytes("archive", "--format=tar", commit))) as archive:
        archive.extractall(checkout, filter="data")
    _run(sys.executable, "-m", "venv", str(directory / "venv"))
    install = ("pip", "install", "--quiet", "--disable-pip-version-check", f"{checkout}[dev]")
    _run(str(directory / "venv/bin/python"), "-m", *install)
    # Whatever is imported comes from what was installed.
    shutil.rmtree(checkout)
    ignored = shutil.ignore_patterns("results", "__pycache__")
    shutil.copytree(ROOT / "benchmarks", directory / "benchmarks", ignore=ignored)
    return Side(name, directory)


def _commit(name: str) -> str:
    return _git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")


def _git(*arguments: str) -> str:
    return _git_bytes(*arguments).decode().strip()


def _git_bytes(*arguments: str) -> bytes:
    return _run("git", "-C", str(ROOT), *arguments)


def _run(*command: str) -> bytes:
    return subprocess.run(command, capture_output=True, check=True).stdout


def _said(error: subprocess.CalledProcessError) -> str:
    return error.stderr.decode(errors="replace").strip()[-1000:] or f"exit code {error.returncode}"


def _write(directory: Path, commits: dict[str, str], compared: Sequence[Comparison]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    report = {**commits, "rows": [asdict(each) for each in compared]}
    (directory / "against.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("commit", metavar="COMMIT", help="what HEAD is compared with")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see it work")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 5, quick 2")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=MEASURES,
        help=f"measure only this (repeatable): {', '.join(MEASURES)}",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="where against.json goes, default benchmarks/results",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
