"""Tests that wait run beside tests that compute, and those that share something in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sharing import TOGETHER, WAITING

ROOT = Path(__file__).parents[3]

TEST = """
import os
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(number):
    with open(os.environ["PYTEST_XDIST_WORKER"], "a") as ran:
        ran.write(f"{os.path.basename(__file__)}{number} ")
"""


@pytest.fixture
def ran(tmp_path: Path) -> list[list[str]]:
    """What the two processes of a small project have run, in that order."""
    for name in ("faults/test_waits", "web/test_computes", "web/browser/test_shares"):
        file = tmp_path / f"tests/{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TEST)
    places = ["--rootdir", str(tmp_path), "--import-mode=importlib", "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "xdist.plugin", *places],
        cwd=tmp_path,
        env={
            **{name: each for name, each in os.environ.items() if "PYTEST" not in name},
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "tests.sharing",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "24 passed" in done.stdout, done.stdout + done.stderr
    return [(tmp_path / name).read_text().split() for name in ("gw0", "gw1")]


def test_one_process_begins_with_what_computes_and_one_with_what_waits(
    ran: list[list[str]],
) -> None:
    computes, waits = ran
    assert waits[0] == "test_waits.py0"
    assert computes[:9] == [f"test_shares.py{number}" for number in range(8)] + [
        "test_computes.py7"
    ]


def test_every_name_in_the_lists_is_that_of_tests() -> None:
    files = [f"{file.relative_to(ROOT)}::" for file in ROOT.glob("tests/**/test_*.py")]
    assert [part for part in (*TOGETHER, *WAITING) if not any(part in file for file in files)] == []
