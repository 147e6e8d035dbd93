"""The API does what its description says, whatever is sent to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import redis as redis_py
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from starlette.routing import Route

from jobd.api import Api
from jobd.testing import EmbeddedServer
from jobd.web.v1 import OPERATIONS
from jobd.web.v1.openapi import describe
from tests.api.conftest import HOSTILE, job, push
from tests.web.frame import TOKEN, bearer, browser, guarded

EXAMPLES = 12
"""Requests for each operation: a few seconds in all."""


def test_the_description_is_served_and_valid(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    served = client.get("/api/v1/openapi.json", headers=bearer()).json()
    assert served == describe(OPERATIONS)
    assert served["openapi"].startswith("3.1")
    for name, schema in served["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator({**schema, "components": served["components"]})
        assert schema["title"] == name
    names = [one["operationId"] for path in served["paths"].values() for one in path.values()]
    assert sorted(names) == sorted({one.name for one in OPERATIONS})


def test_the_routes_are_those_of_the_description(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    routed = {
        (method, route.path.removeprefix("/api/v1"))
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith("/api/v1")
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        (method.upper(), path)
        for path, methods in describe(OPERATIONS)["paths"].items()
        for method in methods
    }
    assert routed == described | {("GET", "/openapi.json")}


def test_the_manual_names_every_operation() -> None:
    page = (Path(__file__).parents[2] / "docs/dashboard.md").read_text()
    rows = re.findall(r"^\| `(GET|POST|DELETE) (/[^`]*)` \| (\w+) \|", page, re.MULTILINE)
    expected = [(one.method, one.path, one.role.name.lower()) for one in OPERATIONS]
    assert sorted(rows) == sorted(expected)


def fill(api: Api) -> None:
    """Something of everything."""
    push(api, "default", *HOSTILE[:10], *(job(n) for n in range(5)))
    for key in (api.keys.retry, api.keys.dead, api.keys.schedule):
        api.redis.zadd(key, {job(n, error_class="Boom"): 2e9 + n for n in range(5)})
    api.redis.sadd(api.keys.processes, "host:7:0123456789ab")
    api.redis.hset(api.keys.process("host:7:0123456789ab"), "info", '{"pid":7,"hostname":"host"}')
    api.acting_as("alice").dead.clear()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_whatever_is_sent_the_answer_is_a_described_one(
    operation: Any, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    api = Api(redis)
    app = guarded(api)
    schema = schemathesis.openapi.from_dict(describe(OPERATIONS))
    schema.app = app
    schema.config.base_url = "http://localhost/api/v1"
    found = schema["/".join(["", *operation.path.split("/")[1:]])][operation.method]
    good = found.as_strategy(generation_mode=GenerationMode.POSITIVE)
    bad = found.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @seed(7420)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(good, bad))
    def answered(case: Any) -> None:
        fill(api)
        answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
        case.validate_response(
            answer,
            checks=[
                not_a_server_error,
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
                # What is described is taken, and nothing else.
                checks.positive_data_acceptance,
                checks.negative_data_rejection,
            ],
        )

    answered()
