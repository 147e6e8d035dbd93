"""How many requests work at once, and who waits."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.types import Message, Scope

from jobd.web.access import turns
from jobd.web.access.turns import AT_ONCE, OF_ADDRESS, WAITING, Turns
from jobd.web.http_errors import NotNow


class Work:
    """An application whose requests end when the test says so."""

    def __init__(self, size: int = 10**9) -> None:
        self.working: list[str] = []
        self.most = 0
        self.go_on = anyio.Event()
        self.size = size

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.working.append(scope["client"][0])
        self.most = max(self.most, len(self.working))
        await self.go_on.wait()
        self.working.remove(scope["client"][0])
        headers = [(b"content-length", str(self.size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def asked(source: str, path: str = "/queues") -> Scope:
    return {"type": "http", "path": path, "headers": [], "client": (source, 1)}


async def nothing() -> Message:
    return {}


async def ignored(_: Message) -> None: ...


def test_one_address_takes_half_of_the_turns_and_all_take_no_more_than_there_are() -> None:
    async def look() -> None:
        work = Work()
        app = Turns(work)
        async with anyio.create_task_group() as group:
            for _ in range(60):
                group.start_soon(app, asked("192.0.2.66"), nothing, ignored)
            await anyio.wait_all_tasks_blocked()
            assert work.working == ["192.0.2.66"] * OF_ADDRESS
            for number in range(30):
                group.start_soon(app, asked(f"192.0.2.{number}"), nothing, ignored)
            await anyio.wait_all_tasks_blocked()
            assert len(work.working) == AT_ONCE
            assert len(set(work.working)) == 1 + AT_ONCE - OF_ADDRESS
            # These need no turn.
            for path in ("/healthz", "/live", "/static/app.css", "/login"):
                group.start_soon(app, asked("192.0.2.66", path), nothing, ignored)
            await anyio.wait_all_tasks_blocked()
            assert len(work.working) == AT_ONCE + 4
            work.go_on.set()
        assert work.most == AT_ONCE + 4

    anyio.run(look)


@pytest.mark.parametrize(("size", "refused"), [(100, 0), (10**6, 1)])
def test_an_answer_that_nobody_takes_keeps_its_turn_where_it_is_large(
    monkeypatch: pytest.MonkeyPatch, size: int, refused: int
) -> None:
    monkeypatch.setattr(turns, "WITHIN", 0.05)

    async def look() -> None:
        work, never, found = Work(size), anyio.Event(), []
        work.go_on.set()
        app = Turns(work)

        async def stuck(_: Any) -> None:
            await never.wait()

        async def one_more() -> None:
            try:
                await app(asked("192.0.2.66"), nothing, ignored)
            except NotNow as error:
                found.append(error.headers())

        async with anyio.create_task_group() as group:
            for _ in range(OF_ADDRESS):
                group.start_soon(app, asked("192.0.2.66"), nothing, stuck)
            await anyio.wait_all_tasks_blocked()
            await one_more()
            never.set()
        assert found == [{"Retry-After": "5"}] * refused

    anyio.run(look)


def test_no_more_wait_than_a_share() -> None:
    async def look() -> None:
        work, refused = Work(), []
        app = Turns(work)

        async def one() -> None:
            try:
                await app(asked("192.0.2.66"), nothing, ignored)
            except NotNow:
                refused.append(1)

        async with anyio.create_task_group() as group:
            for _ in range(OF_ADDRESS + WAITING // 4 + 7):
                group.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            assert len(refused) == 7
            work.go_on.set()
        assert work.most == OF_ADDRESS

    anyio.run(look)
