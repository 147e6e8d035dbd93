"""jobctl at a terminal: the line that is written over again, and where it may not be."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.support.terminals import at_terminal


@pytest.fixture
def waiting(server: EmbeddedServer, redis: redis_py.Redis) -> str:
    """A job in a queue with a long name."""
    return str(Client(redis=redis).push({"class": "A", "args": [], "queue": "long" * 20}))


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_the_line_is_cleared_also_without_colours(
    env: dict[str, str], waiting: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    words = ("wait", waiting, "--timeout", "0.5")
    said, code = at_terminal(server, tmp_path / "out", *words, env=env)
    first, line, cleared, *_ = said.split("\r\x1b[K")
    assert (first, line[:15]) == ("", "queue longlongl")
    assert cleared.startswith("jobctl: ")
    assert code == 5


@pytest.mark.parametrize("columns", [20, 40])
def test_the_line_fits_the_terminal_that_shows_it(
    columns: int, waiting: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    words = ("wait", waiting, "--timeout", "0.5")
    said, _ = at_terminal(server, tmp_path / "out", *words, columns=columns)
    _, line, *_ = said.split("\r\x1b[K")
    assert len(line) == columns - 1
    assert line.endswith("…")


def test_a_terminal_that_cannot_clear_a_line_has_none(
    waiting: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    words = ("wait", waiting, "--timeout", "0.5")
    said, _ = at_terminal(server, tmp_path / "out", *words, env={"TERM": "dumb"})
    assert said.startswith("jobctl: ")
    assert "\x1b" not in said
