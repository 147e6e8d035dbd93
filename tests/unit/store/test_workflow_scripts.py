"""The scripts of workflows, as properties.

On a random graph, in whatever order its jobs end, however often a call is sent, each step is pushed
once, after all that it waits for, and never otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobd.graphs.graph import Graph, Policy, Vertex, ordered
from jobd.graphs.plan import About, Plan, Planned, Ready, Step, jid_of
from jobd.store import scripts
from jobd.store.connection import connect
from jobd.store.enqueue import Transport
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer

KEYS = Keys("{p}:")
FLIGHT = KEYS.inflight("host:1:x")
STATS = [KEYS.processed, KEYS.processed_on("d"), KEYS.failed, KEYS.failed_on("d")]


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis_py.Redis]:
    made = connect(server.url)
    made.flushall()
    yield made
    made.close()


def plan_of(after: list[list[int]], joints: set[int], policies: list[Policy], ref: str) -> Plan:
    """A workflow whose steps wait for these."""
    then: list[list[int]] = [[] for _ in after]
    for number, before in enumerate(after):
        for one in before:
            then[one].append(number)
    steps = []
    for number, before in enumerate(after):
        job = None
        if number not in joints:
            raw = {"class": "step", "args": [], "jid": jid_of(ref, number), "queue": "q"}
            node = {"v": 1, "node": {"id": ref, "n": number}}
            job = Ready(json.dumps({**raw, "jobd": node}).encode(), jid_of(ref, number), "q")
        name = "step" if job else ""
        step = Step("", name, tuple(before), policies[number])
        steps.append(Planned(step, job, None, tuple(then[number])))
    roots = tuple(number for number, before in enumerate(after) if not before)
    return Plan(ref, About(1.0), steps, roots)


class Model:
    """What must be: letters as in Redis, worked out from the graph alone."""

    def __init__(self, plan: Plan) -> None:
        self.after = [set(one.step.after) for one in plan.steps]
        self.joint = [one.job is None for one in plan.steps]
        self.policy = [one.step.on_failure for one in plan.steps]
        self.letters = ["."] * len(plan.steps)
        self.cancelled = False
        self.flow()

    def flow(self) -> None:
        if self.cancelled:
            return
        changed = True
        while changed:
            changed = False
            for number, letter in enumerate(self.letters):
                ready = all(self.letters[one] in "dFXC" for one in self.after[number])
                if letter == "." and ready:
                    self.letters[number] = "d" if self.joint[number] else "p"
                    changed = True

    def end(self, numbers: list[int], how: str) -> None:
        """All of them in one step."""
        for number in numbers:
            letter = {"done": "d", "failed": "f", "expired": "x", "cancelled": "c"}[how]
            if how != "done" and self.policy[number] == "continue":
                letter = letter.upper()
            self.letters[number] = letter
            if how != "done" and self.policy[number] == "cancel":
                self.cancelled = True
        self.flow()

    @property
    def state(self) -> str:
        if "p" in self.letters:
            return "running"
        lost = any(one in "fxc" for one in self.letters)
        return "failed" if lost or self.cancelled else "done"


graphs = st.integers(1, 9).flatmap(
    lambda size: st.tuples(
        st.tuples(*(st.sets(st.integers(0, max(0, one - 1)), max_size=3) for one in range(size))),
        st.sets(st.integers(0, size - 1), max_size=2),
        st.lists(
            st.sampled_from(["stop", "stop", "continue", "cancel"]), min_size=size, max_size=size
        ),
    )
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(graphs, st.data())
def test_each_step_is_pushed_once_after_all_that_it_waits_for(
    client: redis_py.Redis, drawn: Any, data: st.DataObject
) -> None:
    edges, joints, policies = drawn
    client.flushall()
    after = [sorted(one - {number}) for number, one in enumerate(edges)]
    after[0] = []
    plan = plan_of(after, joints, policies, "w")
    transport, model = Transport(client, KEYS.prefix), Model(plan)
    transport.start(plan)
    transport.start(plan)
    pushed: list[str] = []
    while True:
        assert client.get(KEYS.workflow_steps("w")) == "".join(model.letters).encode()
        assert client.hget(KEYS.workflow("w"), "state") == model.state.encode()
        queued: Any = client.lrange(KEYS.queue("q"), 0, -1)
        live = [number for number, letter in enumerate(model.letters) if letter == "p"]
        jids = sorted(json.loads(raw)["jid"] for raw in queued)
        assert jids == sorted(jid_of("w", number) for number in live)
        if not live:
            break
        how = data.draw(st.sampled_from(["done", "done", "failed", "expired", "cancelled"]))
        most = 1 if how == "failed" else len(live)
        some = data.draw(st.lists(st.sampled_from(live), min_size=1, max_size=most, unique=True))
        tags = []
        for number in some:
            jid = jid_of("w", number)
            raw = next(one for one in queued if json.loads(one)["jid"] == jid)
            pushed.append(jid)
            client.lrem(KEYS.queue("q"), 1, raw)
            tags.append(f"{number + 1}:q")
            client.hset(FLIGHT, tags[-1], raw)
        for _ in range(data.draw(st.integers(1, 3))):
            if how == "failed":
                scripts.DISCARD(client, [FLIGHT, *STATS], [60, tags[0], b""])
            else:
                places = [FLIGHT, KEYS.queues, *STATS[:2]]
                scripts.END(client, places, [60, how, *(w for tag in tags for w in (tag, b""))])
        model.end(some, how)
    assert len(set(pushed)) == len(pushed)


@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_an_order_has_each_step_after_those_that_it_waits_for(edges: list[list[int]]) -> None:
    graph: Graph[str] = Graph()
    for number, before in enumerate(edges):
        graph.add(Vertex("", "x", tuple(one for one in before if one < number)))
    order, after = ordered(graph)
    assert sorted(order) == list(range(len(edges)))
    for place, before in enumerate(after):
        assert all(one < place for one in before)
        assert {order[one] for one in before} == set(graph.vertices[order[place]].after)
