"""Two commits against each other: which ratios, which of them fail, and what cannot be compared."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import against
from benchmarks.report import compare
from benchmarks.report.compare import Comparison, rows

FIRST_ROUND: dict[str, dict[str, Any]] = {
    "drains": {"samples": {"jobd/1/empty/warning": [200.0], "jobd/1/cpu/warning": [None]}},
    "latency": {"contenders": {"jobd": {"p50": 500, "p99": 1000, "p99.9": None}}},
    "due": {
        "samples": {"moved": [10.0]},
        "fresh on idle, ms": {"p50": 1.0, "p99": 2.0, "worst": 9.0},
        "fresh in the flood, ms": {"p50": 4.0, "p99": 8.0, "worst": 9.0},
    },
    "idle": {"contenders": {"jobd": {"commands": 4.0, "cpu": 0.0}}},
    "recovery": {kind: {"p50": 10, "p99": 100} for kind in ("beside", "alone")},
    "memory": {"after_each_batch": [100.0, 110.0, 125.0]},
}


def test_more_is_better_in_every_row() -> None:
    found: dict[str, float | None] = {}
    for name, result in FIRST_ROUND.items():
        found |= rows(name, result)
    assert found["drains: 1/empty/warning"] == 200
    assert found["drains: 1/cpu/warning"] is None
    assert found["latency: p50"] == 1 / 500
    assert found["due: moved"] == 10
    assert found["due: fresh in the flood, ms, p99"] == 1 / 8
    assert found["idle: commands"] == 1 / 4
    assert found["idle: CPU"] == 1 / 0.05, "below what can be measured"
    assert found["memory: whole daemon, at last"] == 1 / 125
    assert len(found) == 17
    assert rows("due", {"error": "it took too long"}) == {}


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([1.0, 1.1, 0.9, 1.0, 1.0], "ok"),
        ([0.96, 0.95, 0.5, 0.96, 0.969], "FAIL"),
        ([0.96, 0.95, 0.5, 0.96, 0.971], "ok"),
        ([0.5, None, 0.6], "FAIL"),
        ([None, None], "not measured"),
    ],
)
def test_a_row_fails_where_its_whole_interval_is_below(
    ratios: list[float | None], verdict: str
) -> None:
    assert Comparison("x", ratios).verdict == verdict


def test_rounds_are_paired() -> None:
    # The second round ran at half speed, and the third had no old one.
    new: list[compare.Rows] = [{"x": 10.0}, {"x": 5.0}, {"x": 10.0}]
    old: list[compare.Rows] = [{"x": 10.0}, {"x": 5.0}, {"x": None}]
    (row,) = compare.compare(new, old)
    assert list(row.ratios) == [1, 1, None]
    assert row.verdict == "ok"
    (turned,) = compare.compare(old, new)
    assert turned.verdict == "FAILED", "the new one fails at what the old one can"
    (gone,) = compare.compare([{}], [{"x": 1.0}])
    assert gone.failed
    text = compare.table([row]).text()
    assert "1.000 .. 1.000" in text
    assert text.splitlines()[-1].split()[:4] == ["x", "1.000", "1.000", "-"]


def test_what_is_no_commit_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("no-such-branch", "--help-me", ""):
        assert against.main(["--results", str(tmp_path), "--", name]) == 2
        assert "git" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


SIDE = """#!/bin/sh
# In place of an interpreter with the benchmarks: what one round of them writes.
echo "$@" >>calls
mkdir -p results
cat >results/latest.json <<END
{"measured": {"memory": {"after_each_batch": [100, $(cat size)]}}}
END
"""


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two commits that are installed at once, new and old; each has a file *size*."""

    def install(name: str, commit: str, _directory: Path) -> against.Side:
        directory = tmp_path / name
        program = directory / "venv/bin/python"
        program.parent.mkdir(parents=True)
        program.write_text(SIDE)
        program.chmod(0o755)
        (directory / "size").write_text("100")
        return against.Side(name, directory)

    def commit(name: str) -> str:
        return f"{name}'s"

    monkeypatch.setattr(against, "_install", install)
    monkeypatch.setattr(against, "_commit", commit)
    monkeypatch.setattr(against, "_git", lambda *_: "")
    return tmp_path


def run(results: Path, *flags: str) -> int:
    arguments = ["--only", "memory", "--results", str(results), *flags, "--", "old"]
    return against.main(arguments)


def test_both_are_measured_in_every_round(sides: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "results") == 0
    for name in ("new", "old"):
        calls = (sides / name / "calls").read_text().splitlines()
        assert len(calls) == 5
        assert "--only memory --only jobd" in calls[0]
    report = json.loads((tmp_path / "results/against.json").read_text())
    assert report["new"] == "HEAD's"
    assert [row["ratios"] for row in report["rows"]] == [[1] * 5] * 2


@pytest.mark.parametrize(("size", "code"), [("104", 1), ("102", 0), ("broken", 2)])
def test_the_exit_code_is_the_verdict(
    sides: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: str,
    code: int,
) -> None:
    install = against._install

    def larger(name: str, commit: str, directory: Path) -> against.Side:
        side = install(name, commit, directory)
        if size == "broken":
            (side.directory / "venv/bin/python").write_text("#!/bin/sh\necho broken >&2; exit 1\n")
        elif name == "new":
            (side.directory / "size").write_text(size)
        return side

    monkeypatch.setattr(against, "_install", larger)
    assert run(sides / "results", "--quick") == code
    said = capsys.readouterr()
    if code == 1:
        assert "failed: memory: whole daemon, at last" in said.out
    if code == 2:
        assert "broken" in said.out


def test_make_passes_the_commit_on() -> None:
    command = ["make", "-n", "bench", "AGAINST=v1", "BENCH=--quick", "MAKEFLAGS="]
    root = Path(__file__).parents[3]
    environment = {name: each for name, each in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("-m benchmarks.against 'v1' --quick")
