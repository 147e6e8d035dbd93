"""What is said about the last moments of a dead worker's jobs, from dumps of the real dumper."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from jobd.keeper.recovery import Death
from jobd.master.children.laststacks import DEATH_BYTES, STACK_BYTES, of_jobs
from jobd.master.children.recoveries import WITH_STACKS, Recoveries
from jobd.master.files.statefile import Unrecovered
from jobd.runtime.ipc.channel import BACKLOG_BYTES, pair
from jobd.runtime.ipc.messages import Recover
from jobd.runtime.ipc.scoreboard import Running
from jobd.runtime.process.dumps import StackDump

SECOND = 10**9


@pytest.fixture
def dump() -> Iterator[StackDump]:
    made = StackDump("test")
    yield made
    made.close()


class Sleeper(threading.Thread):
    """A thread inside a function of its own name, as deep as wished."""

    def __init__(self, depth: int = 0) -> None:
        super().__init__(daemon=True)
        self.depth = depth
        self.there = threading.Event()
        self.done = threading.Event()
        self.start()
        assert self.there.wait(10)

    def run(self) -> None:
        self.job_of_this_thread(self.depth)

    def job_of_this_thread(self, depth: int) -> None:
        if depth:
            self.job_of_this_thread(depth - 1)
        else:
            self.innermost()

    def innermost(self) -> None:
        self.there.set()
        assert self.done.wait(30)

    def running(self, sequence: int = 1, seconds: float = 60.0) -> Running:
        assert self.ident is not None
        return Running(sequence, time.monotonic_ns() - int(seconds * SECOND), self.ident)

    def close(self) -> None:
        self.done.set()
        self.join(10)


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    made = Sleeper()
    yield made
    made.close()


def raw_dump(dump: StackDump) -> None:
    faulthandler.dump_traceback(file=dump.fd, all_threads=True)


CRASH = """
import ctypes, faulthandler, sys, threading
faulthandler.enable(file=int(sys.argv[1]), all_threads=True)
there = threading.Event()
def bystander():
    print(threading.get_ident())
    there.set()
    threading.Event().wait()
def culprit():
    print(threading.get_ident(), flush=True)
    ctypes.string_at(0)
threading.Thread(target=bystander, daemon=True).start()
there.wait()
threading.Thread(target=culprit).start()
"""


def crash(dump: StackDump) -> tuple[int, int, int]:
    """A process that dies of a thread; returns its status and both its threads."""
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(dump.fd)],
        pass_fds=[dump.fd],
        capture_output=True,
        check=False,
    )
    bystander, culprit = map(int, done.stdout.split())
    return done.returncode, bystander, culprit


def test_a_crash_shows_each_job_its_own_thread_and_the_one_that_died(dump: StackDump) -> None:
    raw_dump(dump)  # An older dump does not matter.
    status, bystander, culprit = crash(dump)
    assert status == -signal.SIGSEGV
    started = time.monotonic_ns()
    running = [Running(4, started, bystander), Running(7, started, culprit)]
    stacks = of_jobs(dump, running, status)
    assert stacks.keys() == {4, 7}
    heading, *calls = stacks[7].splitlines()
    assert heading == "The thread of this job, which got the signal (most recent call first):"
    assert "in string_at" in calls[0]
    assert calls[1].endswith("in culprit")
    assert "bystander" not in stacks[7]
    own, cause = stacks[4].split("The thread that got the signal (most recent call first):\n")
    assert own.startswith("The thread of this job, when another one got the signal")
    assert "in bystander" in own
    assert "culprit" not in own
    assert "in culprit" in cause


def test_the_thread_that_crashed_comes_first(dump: StackDump) -> None:
    crash(dump)
    raw = os.pread(dump.fd, 1 << 20, 0).decode()
    head, first, *others = dump.crash().split("\n\n")
    assert head == "Fatal Python error: Segmentation fault"
    assert first.startswith("Current thread ")
    assert "in culprit" in first
    assert any("in bystander" in one for one in others)
    assert sorted(dump.crash().splitlines()) == sorted(raw.rstrip().splitlines())


def test_a_crash_in_a_thread_of_no_job_is_told_to_a_job_without_a_stack(dump: StackDump) -> None:
    status, _, _ = crash(dump)
    stack = of_jobs(dump, [Running(1, time.monotonic_ns(), 5)], status)[1]
    assert stack.startswith("The thread that got the signal")
    assert "in culprit" in stack


def test_a_crash_of_a_process_that_a_job_has_forked_is_not_taken_for_the_worker_s(
    dump: StackDump,
) -> None:
    _, bystander, _ = crash(dump)
    long_ago = time.monotonic_ns() - 60 * SECOND
    stack = of_jobs(dump, [Running(1, long_ago, bystander)], -signal.SIGKILL)[1]
    assert "s before the end of its process" in stack
    assert "signal" not in stack


def test_without_a_dump_nothing_is_said(dump: StackDump, sleeper: Sleeper) -> None:
    assert of_jobs(dump, [sleeper.running()], -signal.SIGKILL) == {}
    assert of_jobs(dump, [sleeper.running()], -signal.SIGSEGV) == {}
    assert of_jobs(dump, [sleeper.running()], 3) == {}


def test_a_dump_from_before_the_end_counts_with_its_age(dump: StackDump, sleeper: Sleeper) -> None:
    raw_dump(dump)
    an_hour_ago = time.time() - 3600
    os.utime(dump.fd, (an_hour_ago, an_hour_ago))
    stack = of_jobs(dump, [sleeper.running(seconds=3700)], -signal.SIGKILL)[1]
    heading = stack.splitlines()[0]
    assert heading.startswith("The thread of this job, 3600.")
    assert heading.endswith(" s before the end of its process (most recent call first):")
    assert "in job_of_this_thread" in stack
    assert "test_a_dump_from_before" not in stack, "that is another thread"


def test_a_dump_from_before_the_job_is_none_of_its(dump: StackDump, sleeper: Sleeper) -> None:
    raw_dump(dump)
    an_hour_ago = time.time() - 3600
    os.utime(dump.fd, (an_hour_ago, an_hour_ago))
    running = [sleeper.running(1, seconds=3500), sleeper.running(2, seconds=3700)]
    assert of_jobs(dump, running, -signal.SIGKILL).keys() == {2}


def test_only_the_newest_of_several_dumps_counts(dump: StackDump, sleeper: Sleeper) -> None:
    before = Sleeper()
    raw_dump(dump)
    after = Sleeper(depth=3)
    before.close()
    raw_dump(dump)
    running = [before.running(1), sleeper.running(2), after.running(3)]
    stacks = of_jobs(dump, running, -signal.SIGKILL)
    after.close()
    assert stacks.keys() == {2, 3}
    assert stacks[2].count("in job_of_this_thread") == 1
    assert stacks[3].count("in job_of_this_thread") == 4


def test_a_deep_stack_keeps_its_innermost_calls(dump: StackDump) -> None:
    deep = Sleeper(depth=300)
    raw_dump(dump)
    stack = of_jobs(dump, [deep.running()], -signal.SIGKILL)[1]
    deep.close()
    assert len(stack) < STACK_BYTES + 200
    assert "in innermost" in stack
    assert stack.endswith("\n  ...")


def test_what_a_job_has_scribbled_into_the_dump_is_no_stack(
    dump: StackDump, sleeper: Sleeper
) -> None:
    os.write(dump.fd, b"Thread 0xzz\n  a\nThread 0x\n  b\n\xff\x00Current thread 0x1\nno call\n")
    assert of_jobs(dump, [sleeper.running()], -signal.SIGKILL) == {}


def test_whatever_happens_the_keeper_s_channel_can_carry_it(
    dump: StackDump,
) -> None:
    deep = Sleeper(depth=300)
    raw_dump(dump)
    stacks = of_jobs(dump, [deep.running(n) for n in range(1, 200)], -signal.SIGKILL)
    deep.close()
    assert DEATH_BYTES - 2 * STACK_BYTES < sum(map(len, stacks.values())) <= DEATH_BYTES
    owed = Recoveries()
    for n in range(WITH_STACKS * 2):
        owed.add(Unrecovered(f"host:{n}:abc", tuple(stacks), "signal"), stacks)
    master, keeper = pair()
    for message in owed.messages():
        master.send(message)
    assert len(master._outgoing) < BACKLOG_BYTES
    received: list[Recover] = []
    while len(received) < WITH_STACKS * 2:
        master.flush()
        received += [one for one in keeper.receive() if isinstance(one, Recover)]
    assert [bool(message.stacks) for message in received] == [
        n < WITH_STACKS for n in range(WITH_STACKS * 2)
    ]
    assert dict(received[0].stacks) == stacks
    master.close()
    keeper.close()


def test_a_death_names_its_host() -> None:
    assert Death("a:b:1:abc", frozenset(), "").host == "a:b"
