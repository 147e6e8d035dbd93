"""Both type checkers accept the good calls and refuse the bad ones.

Every bad call carries an ignore comment, and a checker that would accept the call complains that
the comment is not needed. So a clean run proves both.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNIPPETS = [str(path) for path in sorted((Path(__file__).parent / "typing").glob("*.py"))]
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--warn-unused-ignores"],
    "basedpyright": ["-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_calls_are_checked(checker: str) -> None:
    assert len(SNIPPETS) == 2
    run = subprocess.run(
        [sys.executable, *CHECKERS[checker], *SNIPPETS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
