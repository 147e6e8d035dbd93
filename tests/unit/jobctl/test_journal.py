"""The journal of executions, which is read while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobctl.chaos import journal


@pytest.mark.parametrize("cut", ["", "b", "b two", "b two 30000"])
def test_a_line_that_is_being_written_does_not_count_yet(tmp_path: Path, cut: str) -> None:
    (tmp_path / "7.log").write_text(f"b one 1000000000\n{cut}")
    assert {jid: [one.began for one in each] for jid, each in journal.read(tmp_path).items()} == {
        "one": [1.0]
    }
