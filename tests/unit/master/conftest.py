"""What the tests of several policies share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from tests.support.overseen import Scene


class MakeScene(Protocol):
    """Makes a running daemon of so many workers, without processes."""

    def __call__(self, workers: int = 2, **settings: Any) -> Scene: ...


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeScene]:
    made: list[Scene] = []

    def make(workers: int = 2, **settings: Any) -> Scene:
        made.append(Scene(monkeypatch, workers, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
