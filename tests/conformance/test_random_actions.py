"""Random actions of operators on jobs with attachments lose none, double none, and keep the
counters of batches right; on both stores.

What the end of one job pushes, the callback of its batch or the job that has waited for its lock,
goes to the queue on which the action is under way.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import jobd
from jobd.api.entry import Api
from jobd.errors import ConflictError
from jobd.jobs.app import App
from jobd.testing.simulation import World

STEPS = 60
QUEUES = ("default", "other")
ACTIVE = ("queue:", "schedule", "retry", "dead")


class Shop:
    """Pushes all kinds of jobs, each with a value of its own.

    Attributes:
        ran: how often the job with each value has run.
        failing: values whose jobs fail.
        tracked: values of jobs that are nowhere else before they have run.
    """

    def __init__(self, app: App, chance: random.Random) -> None:
        self._app, self._chance = app, chance
        self.ran = Counter[str]()
        self.failing, self.tracked = set[str](), set[str]()
        self.batches: list[jobd.Batch] = []
        self._values = 0
        self._note = app.job(name="note")(lambda value: self._run(value))
        self._fail = app.job(name="fail", retry=2)(lambda value: self._run(value))
        unique: Any = {"unique": True, "unique_by": [], "on_conflict": "again"}
        self._once = app.job(name="once", **unique)(lambda value: self._run(value))

    def _run(self, value: str) -> None:
        if value in self.failing:
            raise ValueError("no")
        self.ran[value] += 1

    def _value(self, *, tracked: bool = True) -> str:
        self._values += 1
        value = f"<{self._values}>"
        if tracked:
            self.tracked.add(value)
        return value

    def push(self, depth: int = 0) -> None:
        kind = self._chance.randrange(5 if depth > 2 else 8)
        if kind < 2:
            self._note.perform_async(self._value())
        elif kind == 2:
            self._note.perform_in(self._chance.randrange(1, 4000), self._value())
        elif kind == 3:
            value = self._value()
            self.failing.update([value][: self._chance.randrange(2)])
            self._fail.perform_async(value)
        elif kind == 4:
            self._once.perform_async(self._value(tracked=False))  # a lock may keep it out
        else:
            self._push_batch(depth)

    def _push_batch(self, depth: int) -> None:
        batch = jobd.Batch(client=self._app.client)
        for on in (batch.on_success, batch.on_complete, batch.on_death):
            if self._chance.random() < 0.7:
                on(self._note, self._value(tracked=False))
        with batch:
            for _ in range(self._chance.randrange(4)):
                self.push(depth + 1)
        self.batches.append(batch)


class Operator:
    """Does something at random."""

    def __init__(self, w: World, shop: Shop, chance: random.Random) -> None:
        self._w, self._shop, self._chance = w, shop, chance
        self._api: Api = w.api.acting_as("alice")
        self._actions: list[Callable[[], object]] = [
            *4 * [shop.push],
            *2 * [self._change_queue],
            self._move,
            self._change_set,
            self._restore,
            self._cancel_batch,
            self._w.run,
            lambda: w.advance(seconds=chance.randrange(3000)),
        ]

    def act(self) -> str:
        action = self._chance.choice(self._actions)
        try:
            return f"{action.__name__}: {action()}"
        except ConflictError as error:
            return f"{action.__name__}: {error}"

    def _some(self, entries: Any) -> list[Any]:
        """Some of them, in their order."""
        return [each for each in entries if self._chance.random() < 0.5]

    def _change_queue(self) -> object:
        queue = self._api.queue(self._chance.choice(QUEUES))
        name = self._chance.choice(["delete", "cancel", "delete_by_class", "clear"])
        if name == "clear":
            return name, queue.clear()
        if name == "delete_by_class":
            return name, queue.delete_by_class(self._chance.choice(["note", "fail", "once"]))
        jobs = self._some(queue.page(count=50).entries)
        return name, len(jobs), getattr(queue, name)(*jobs)

    def _move(self) -> object:
        source, target = self._chance.sample(QUEUES, 2)
        queue = self._api.queue(source)
        if self._chance.random() < 0.5:
            return queue.move_all(target)
        return queue.move(target, *self._some(queue.page(count=50).entries))

    def _change_set(self) -> object:
        names = {"schedule": ["add_to_queue"], "retry": ["retry", "kill"], "dead": ["retry"]}
        jobs: Any = self._chance.choice([self._api.scheduled, self._api.retries, self._api.dead])
        name = self._chance.choice(["delete", *names[jobs.name]])
        return jobs.name, name, getattr(jobs, name)(*self._some(jobs.page(count=50).entries))

    def _restore(self) -> object:
        return [each.restore() for each in self._some(self._api.trash.page().entries)]

    def _cancel_batch(self) -> object:
        known = {status.bid for status in self._api.batches.newest(1000)}
        return [
            self._api.batches.cancel(batch.bid)
            for batch in self._some(self._shop.batches[-3:])
            if batch.bid in known
        ]


def check(w: World, shop: Shop, done: list[str]) -> None:
    """Each job is somewhere, or has run; none is in two places."""
    active, kept = Counter[str](), set[str]()
    for key in {each.decode() for each in w.redis.scan_iter("*")}:
        reads: dict[Any, Any] = {b"list": w.redis.lrange, b"zset": w.redis.zrange}
        read = reads.get(w.redis.type(key))
        for raw in read(key, 0, -1) if read else ():
            value = raw.decode(errors="replace").partition('"args":["')[2].partition('"')[0]
            kept.add(value)
            active[value] += key.startswith(ACTIVE) and value != ""
    assert shop.tracked - kept - set(shop.ran) == set(), done[-5:]
    doubled = {value for value in active if active[value] + shop.ran[value] > 1}
    assert doubled == set(), done[-5:]


@pytest.mark.parametrize("seed", range(6))
def test_random_actions_of_operators_lose_and_double_nothing(w: World, app: App, seed: int) -> None:
    chance = random.Random(seed)
    shop = Shop(app, chance)
    operator, done = Operator(w, shop, chance), list[str]()
    for _ in range(STEPS):
        done.append(operator.act())
        check(w, shop, done)
    w.advance(seconds=60)
    for status in w.api.batches.newest(1000):
        found = w.api.batches.recount(status.bid)
        assert (found.counters, found.missing) == ({}, ()), done
    assert max(shop.ran.values(), default=0) <= 1, "no callback is pushed twice"
