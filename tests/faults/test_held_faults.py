"""C code that holds the interpreter of a worker: what is pushed meanwhile does not wait for it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.processes import freeze

QUEUES = ("q0", "q1", "q2")
"""So few that an idle worker has blocking claims for them all the time."""

APP = """
    import ctypes, os
    from pathlib import Path
    from jobd import job

    @job(name="hold")
    def hold(seconds):
        Path("holding").write_text(str(os.getpid()))
        ctypes.PyDLL(None).sleep(seconds)  # PyDLL does not let go of the interpreter
        Path("holding").unlink()

    @job(name="note")
    def note(number):
        with open("notes", "a") as file:
            file.write(f"{number}\\n")
"""

HELD = 12
"""Seconds that the interpreter is held, for which the master does not yet ask for stacks."""


class Scene:
    """A daemon one of whose two workers is held, and jobs pushed to it."""

    def __init__(self, daemon: StartDaemon) -> None:
        flags = [part for queue in QUEUES for part in ("-q", queue)]
        self.running = daemon(APP, "-w", "2", "-c", "10", "-t", "1", *flags)
        self.holding = self.running.directory / "holding"
        self._client = Client(self.running.url)
        self._pushed = 0

    def hold(self) -> int:
        """Have a worker be held; returns its process id."""
        self._client.push({"class": "hold", "args": [HELD], "queue": "q0"})
        self.running.wait(lambda: self.holding.exists(), 10, "it is held")
        return int(self.running.wait(self.holding.read_text, 10, "by whom"))

    def push(self, jobs: int) -> None:
        for _ in range(jobs):
            queue = QUEUES[self._pushed % len(QUEUES)]
            self._client.push({"class": "note", "args": [self._pushed], "queue": queue})
            self._pushed += 1

    def notes(self) -> Counter[int]:
        path: Path = self.running.directory / "notes"
        return Counter(map(int, path.read_text().split())) if path.exists() else Counter()

    def wait_for_all(self) -> None:
        self.running.wait(
            lambda: len(self.notes()) == self._pushed, HELD - 2, f"{self._pushed} jobs"
        )

    def assert_once(self) -> None:
        assert self.notes() == Counter(range(self._pushed))


@pytest.fixture
def scene(daemon: StartDaemon, redis: redis_py.Redis) -> Scene:
    return Scene(daemon)


def test_others_start_what_is_delivered_to_a_held_worker(
    scene: Scene, redis: redis_py.Redis
) -> None:
    scene.hold()
    for _ in range(8):
        scene.push(5)
        scene.wait_for_all()
    assert scene.holding.exists(), "it is held all the time"
    running = scene.running
    running.wait_for_log('"event":"jobs_taken_over"')
    running.wait(lambda: not scene.holding.exists(), HELD + 10, "it is let go")
    running.wait(lambda: redis.get("stat:processed") == b"41", 10, "all are acknowledged")
    # And it works as before.
    scene.push(20)
    running.wait(lambda: redis.get("stat:processed") == b"61", 10, "it goes on")
    scene.assert_once()


def test_a_held_worker_that_is_killed_costs_no_job(scene: Scene, redis: redis_py.Redis) -> None:
    worker = scene.hold()
    scene.push(20)
    os.kill(worker, signal.SIGKILL)
    scene.running.wait(lambda: len(scene.notes()) == 20, 20, "all jobs ran")
    scene.push(20)
    scene.running.wait(lambda: len(scene.notes()) == 40, 20, "all jobs ran")
    scene.assert_once()
    redis.delete("queue:q0")


def test_a_keeper_that_is_killed_meanwhile_costs_no_job(
    scene: Scene, redis: redis_py.Redis
) -> None:
    scene.hold()
    running = scene.running
    scene.push(15)
    keeper = running.wait(running.keeper, 10, "there is a keeper")
    os.kill(keeper, signal.SIGKILL)
    scene.push(15)
    scene.wait_for_all()
    running.wait(lambda: not scene.holding.exists(), HELD + 10, "it is let go")
    scene.push(10)
    running.wait(lambda: redis.get("stat:processed") == b"41", 20, "all are acknowledged")
    scene.assert_once()


def test_a_stopped_worker_keeps_no_job(scene: Scene, redis: redis_py.Redis) -> None:
    """It runs nothing, so only its main thread tells."""
    running = scene.running
    stopped = running.workers()[0]
    freeze(stopped)
    try:
        scene.push(20)
        running.wait(lambda: len(scene.notes()) == 20, 10, "all jobs ran")
    finally:
        os.kill(stopped, signal.SIGCONT)
    running.wait(lambda: redis.get("stat:processed") == b"20", 10, "all are acknowledged")
    scene.assert_once()
