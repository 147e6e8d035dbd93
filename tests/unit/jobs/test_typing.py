"""Both type checkers accept the good calls and refuse the bad ones.

Every bad call carries an ignore comment, and a checker that would accept the call complains that
the comment is not needed. So a clean run proves both.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.versions import is_older

ROOT = Path(__file__).parents[3]
SNIPPETS = ROOT / "tests/unit/jobs/typing"
CHECKERS: dict[str, list[str | Path]] = {
    "mypy": ["mypy", SNIPPETS / "good.py", SNIPPETS / "bad.py"],
    # With pyright's own rules, in pyrightconfig.json.
    "basedpyright": ["basedpyright", "--project", SNIPPETS, "--pythonpath", sys.executable],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_calls_are_checked(checker: str) -> None:
    if checker == "mypy" and is_older("redis", "8"):
        pytest.skip(
            f"mypy checks jobd, too, with the types of the newest redis; not {version('redis')}"
        )
    run = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
