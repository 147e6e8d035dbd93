"""What people do to jobs, as a property: in whatever order, and wherever it is cut short, every job
is in one place.

Hypothesis plays operators who act in steps, workers and keepers in between, and crashes: before a
script was sent, and after it was done but before its answer came.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
import redis as redis_py
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from jobd.api import Api, JobSet, Sweep, trash
from jobd.api.queues import queues
from jobd.api.sets.steps import SetAction
from jobd.keeper.scheduler import Scheduler
from jobd.testing import EmbeddedServer
from tests.api.conftest import job, push

T = TypeVar("T")


class Crash(Exception):
    """The operator's process ends here."""


class Mortal(redis_py.Redis):
    """A client that ends its process at one of its next scripts."""

    scripts_left: int | None = None
    answered = True

    def evalsha(self, *args: Any, **options: Any) -> Any:
        if self.scripts_left == 0 and not self.answered:
            raise Crash
        answer = super().evalsha(*args, **options)
        if self.scripts_left == 0:
            raise Crash
        if self.scripts_left is not None:
            self.scripts_left -= 1
        return answer


SETS = ("schedule", "retry", "dead")
QUEUES = ("a", "b")
crashes = st.one_of(st.none(), st.tuples(st.integers(0, 3), st.booleans()))
names = st.sampled_from(SETS)
queue_names = st.sampled_from(QUEUES)
texts = st.sampled_from([None, "Odd", "Even"])

# By numbers, and not from what there is: the order of that depends on the time.
picks = st.integers(0, 1000)
several = st.lists(picks, max_size=5)


def picked(those: Sequence[T], number: int) -> T:
    return those[number % len(those)]


class Operators(RuleBasedStateMachine):
    socket: str
    sweeps: Bundle[Sweep] = Bundle("sweeps")

    def __init__(self) -> None:
        super().__init__()
        self.client = Mortal(unix_socket_path=self.socket, protocol=2)
        self.client.flushall()
        self.plain = Api(self.client, "{p}:")
        self.api = self.plain.acting_as("me")
        self.scheduler = Scheduler(self.client, self.plain.keys, 1.0)
        self.made = 0
        self.ended: Counter[int] = Counter()

    def teardown(self) -> None:
        self.client.close()

    def set(self, name: str, kept: bool = True) -> JobSet:
        api = self.api if kept else self.plain
        return {"schedule": api.scheduled, "retry": api.retries, "dead": api.dead}[name]

    def mortal(self, crash: tuple[int, bool] | None, act: Any) -> None:
        if crash is not None:
            self.client.scripts_left, self.client.answered = crash
        try:
            act()
        except Crash:
            pass
        finally:
            self.client.scripts_left = None

    # -- clients, workers, keepers -------------------------------------------------------------

    @rule(name=names, jobs=st.integers(1, 40))
    def enter(self, name: str, jobs: int) -> None:
        for _ in range(jobs):
            raw = job(self.made, "Odd" if self.made % 2 else "Even", QUEUES[self.made % 2])
            # Nothing is due by itself, but what a person has rescheduled.
            self.client.zadd(self.set(name)._key, {raw: 3e9 + self.made})
            self.made += 1

    @rule(name=queue_names, jobs=st.integers(1, 40))
    def push(self, name: str, jobs: int) -> None:
        for _ in range(jobs):
            push(self.plain, name, job(self.made, "Odd" if self.made % 2 else "Even", name))
            self.made += 1

    @rule(name=queue_names, jobs=st.integers(1, 5))
    def work(self, name: str, jobs: int) -> None:
        taken: Any = self.client.rpop(self.plain.keys.queue(name), jobs)
        self.ended.update(json.loads(raw)["args"][0] for raw in taken or ())

    @rule(name=names, pick=picks)
    def fail(self, name: str, pick: int) -> None:
        """A worker's job goes to a set, with other bytes than before."""
        if self.ended:
            number = picked(sorted(self.ended), pick)
            del self.ended[number]
            raw = job(number, "Odd" if number % 2 else "Even", "a", at=time.monotonic_ns())
            self.client.zadd(self.set(name)._key, {raw: 3e9})

    @rule()
    def promote(self) -> None:
        while self.scheduler.turn() == 0.0:
            pass

    # -- operators -----------------------------------------------------------------------------

    @rule(target=sweeps, name=names, match=texts, action=st.sampled_from(SetAction.__args__))  # type: ignore[attr-defined]
    def begin_sweep(self, name: str, match: str | None, action: SetAction) -> Sweep:
        if (name, action) in (("dead", "kill"), ("dead", "reschedule")):
            action = "delete"
        when = 2_000_000_000.0 if action == "reschedule" else None
        return self.set(name).sweep(action, match, when=when)

    @rule(target=sweeps, name=queue_names, match=texts)
    def begin_queue_sweep(self, name: str, match: str | None) -> Sweep:
        return self.api.queue(name).sweep(match)

    @rule(sweep=sweeps, crash=crashes)
    def step(self, sweep: Sweep, crash: tuple[int, bool] | None) -> None:
        self.mortal(crash, sweep.step)

    @rule(sweep=consumes(sweeps), crash=crashes)
    def finish(self, sweep: Sweep, crash: tuple[int, bool] | None) -> None:
        self.mortal(crash, sweep.run)

    @rule(name=names, start=st.integers(0, 9), crash=crashes, later=st.booleans())
    def reschedule(self, name: str, start: int, crash: Any, later: bool) -> None:
        entries = self.set(name).page(start, 3).entries
        when = 3.1e9 if later or name == "dead" else 1.0
        self.mortal(crash, lambda: self.set(name).reschedule(when, *entries))

    @rule(name=names, retried=several, deleted=several, crash=crashes)
    def act_on_what_was_seen(
        self, name: str, retried: list[int], deleted: list[int], crash: Any
    ) -> None:
        jobs = self.set(name)
        entries = jobs.page(0, 5).entries
        for verb, numbers in (("retry", retried), ("delete", deleted)):
            some = [picked(entries, number) for number in numbers] if entries else []
            self.mortal(crash, lambda verb=verb, some=some: getattr(jobs, verb)(*some))

    @rule(name=st.sampled_from(["schedule", "retry"]), crash=crashes)
    def kill(self, name: str, crash: Any) -> None:
        jobs = self.set(name)
        self.mortal(crash, lambda: jobs.kill(*jobs.page(0, 3)))

    @rule(name=names, crash=crashes)
    def clear_set(self, name: str, crash: Any) -> None:
        self.mortal(crash, self.set(name).clear)

    @rule(name=queue_names, crash=crashes)
    def clear_queue(self, name: str, crash: Any) -> None:
        self.mortal(crash, self.api.queue(name).clear)

    @rule(name=queue_names, start=st.integers(0, 9), newest=st.booleans(), crash=crashes)
    def delete_queued(self, name: str, start: int, newest: bool, crash: Any) -> None:
        queue = self.api.queue(name)
        jobs = queue.page(start, 4, newest_first=newest).entries
        self.work(name, 2)
        self.mortal(crash, lambda: queue.delete(*jobs))

    @rule(turned=st.booleans(), crash=crashes)
    def move_all(self, turned: bool, crash: Any) -> None:
        source, target = QUEUES[::-1] if turned else QUEUES
        self.mortal(crash, lambda: self.api.queue(source).move_all(target))

    @rule(turned=st.booleans(), start=st.integers(0, 9), newest=st.booleans(), crash=crashes)
    def move(self, turned: bool, start: int, newest: bool, crash: Any) -> None:
        source, target = QUEUES[::-1] if turned else QUEUES
        queue = self.api.queue(source)
        jobs = queue.page(start, 4, newest_first=newest).entries
        self.work(source, 2)
        self.mortal(crash, lambda: queue.move(target, *jobs))

    @rule(pick=picks, whole=st.booleans(), crash=crashes)
    def restore(self, pick: int, whole: bool, crash: Any) -> None:
        deletions = list(self.api.trash)
        if deletions:
            chosen = picked(deletions, pick)
            self.mortal(crash, lambda: chosen.restore(None if whole else 0.0))

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        keys = self.plain.keys
        places: Counter[int] = Counter(self.ended)
        found: list[bytes] = []
        for name in QUEUES:
            found += self.client.lrange(keys.queue(name), 0, -1)  # type: ignore[arg-type]
        for name in SETS:
            found += self.client.zrange(self.set(name)._key, 0, -1)  # type: ignore[arg-type]
        for deletion in self.api.trash:
            if not deletion.went_to:
                found += [one.value for one in deletion.page(0, 1000)]
        places.update(json.loads(raw)["args"][0] for raw in found)
        assert places == Counter(range(self.made))

    @invariant()
    def the_trash_knows_what_it_holds(self) -> None:
        held: Any = self.client.zrange(self.plain.keys.trash, 0, -1)
        stored: Any = self.client.keys(f"{self.plain.keys.trash}:*:jobs")
        assert {key.split(b":")[-2] for key in stored} <= set(held)


@pytest.mark.timeout(500)  # half a minute on a machine that does nothing else
def test_every_job_is_in_one_place(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    Operators.socket = str(server.socket)
    monkeypatch.setattr(trash, "BATCH", 3)
    monkeypatch.setattr(queues, "BATCH", 3)
    run_state_machine_as_test(
        Operators,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
