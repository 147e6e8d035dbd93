"""Where Redis cannot be reached, or refuses, everything public says so in one way."""

from __future__ import annotations

import inspect
import socket
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from jobd import Client, UnavailableError
from jobd.api import Api, JobRecord, iterable_states
from jobd.errors import RefusedError
from tests.api.conftest import PLAIN, job, push

ARGUMENTS: dict[str, Any] = {
    "jid": "1befef82961e0772dce5ae4d",
    "key": "1.0-1befef82961e0772dce5ae4d",
    "keys": ["1.0-1befef82961e0772dce5ae4d"],
    "label": "v1",
    "name": "Mail",
    "who": "alice",
    "when": 60,
    "target": "other",
    "job": {"class": "A", "args": []},
    "score": 1.0,
    "ref": "1-1",
    "refs": ["1-1"],
    "identity": "host:1:abc",
    "identities": ["host:1:abc"],
    "changes": {"args": [1]},
    "action": "delete",
    "most": 10,
    "count": 10,
}
NOT_ASKING = {"acting_as", "queue", "groups", "find"}
"""They return what asks when it is used."""


@pytest.fixture
def nowhere() -> Iterator[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"redis://:secret@127.0.0.1:{unused.getsockname()[1]}/0"


def uses(thing: Any) -> Iterator[tuple[str, Any]]:
    """Every public property and method of *thing*, as something to call without arguments."""
    for name in dir(type(thing)):
        if name.startswith("_") or name in NOT_ASKING:
            continue
        member = inspect.getattr_static(type(thing), name)
        if isinstance(member, property):
            yield name, lambda name=name: getattr(thing, name)
        elif inspect.isfunction(member):
            needed = [
                one.name
                for one in list(inspect.signature(member).parameters.values())[1:]
                if one.default is one.empty and one.kind is not one.VAR_POSITIONAL
            ]
            if all(one in ARGUMENTS for one in needed):
                given = {one: ARGUMENTS[one] for one in needed}
                yield name, lambda name=name, given=given: getattr(thing, name)(**given)
    if hasattr(type(thing), "__iter__"):
        yield "iter", lambda: list(thing)


def things(api: Api) -> list[Any]:
    record = JobRecord(PLAIN)
    searches = [
        api.find("x" * 24),
        api.retries.scan(),
        api.retries.sweep("delete"),
        api.dead.groups(),
    ]
    queue = api.queue("default")
    return [
        api,
        *(api.scheduled, api.retries, api.dead, api.processes, api.work, api.metrics),
        *(api.deploys, api.in_flight, api.trash, api.audit),
        *(queue, record, *searches, queue.scan(), queue.sweep("delete")),
    ]


def test_everything_raises_the_one_error(nowhere: str) -> None:
    api = Api(nowhere).acting_as("alice")
    asked = set()
    for thing in things(api):
        for name, use in uses(thing):
            try:
                found = use()
                if inspect.isgenerator(found):
                    list(found)
            except UnavailableError as raised:
                asked.add(f"{type(thing).__name__}.{name}")
                shown = "".join(traceback.format_exception(raised))
                wrong = [word for word in ("redis.exceptions", "secret") if word in shown]
                assert (shown.count("Traceback"), wrong) == (1, []), shown
            except redis_py.RedisError:
                pytest.fail(f"{type(thing).__name__}.{name} raises an error of redis-py")
            except Exception:  # noqa: BLE001 - of arguments that are only plausible
                continue
    assert len(asked) >= 40, sorted(asked)
    assert {"Api.stats", "Api.info", "RetrySet.size", "RetrySet.page", "Queue.size"} <= asked
    assert {"Queue.clear", "Queue.pause", "RetrySet.clear", "ProcessSet.all", "Audit.iter"} <= asked


def test_functions_that_are_no_methods(nowhere: str) -> None:
    with pytest.raises(UnavailableError):
        iterable_states(Api(nowhere), ["x"])
    with pytest.raises(UnavailableError):
        Api(Client(nowhere)).stats()
    with redis_py.Redis.from_url(nowhere) as theirs, pytest.raises(UnavailableError):
        Api(theirs).stats()


def test_a_refusal_is_told_from_silence(nowhere: str, api: Api, redis: Any) -> None:
    with pytest.raises(UnavailableError) as away:
        Api(nowhere).stats()
    assert not isinstance(away.value, RefusedError)
    assert " does not answer: " in str(away.value)
    push(api, "default", job(1))
    redis.execute_command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(RefusedError, match=r" refuses: .*maxmemory"):
            api.retries.schedule(60, {"class": "A", "args": []})
        with pytest.raises(RefusedError, match="refused the push"):
            Client(redis=redis).push({"class": "A", "args": []})
    finally:
        redis.execute_command("CONFIG", "SET", "maxmemory", "0")
