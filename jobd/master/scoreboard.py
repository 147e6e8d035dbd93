"""Shared memory in which each child shows what it is doing, readable even after its death.

One page per child, written by that child only and read by the master without a system call. The
words are 64-bit and aligned, so a reader never sees half of one. All times are CLOCK_MONOTONIC
nanoseconds, which all processes of a machine share and no clock correction moves.

=========  ==================================================================
word       content
=========  ==================================================================
0          last turn of the main thread's loop
1          last turn of the fetcher's loop
2          jobs finished
3          jobs that raised
4          jobs in flight (claimed and not yet acknowledged)
5          jobs running
16 + 4 t   job thread *t*: sequence number of the running job, 0 when idle
17 + 4 t   job thread *t*: start of the running job
18 + 4 t   job thread *t*: thread ident, to find it in a raw stack dump
19 + 4 t   job thread *t*: deadline of the running job, 0 when it may take any time
=========  ==================================================================
"""

from __future__ import annotations

import mmap
import time
from dataclasses import dataclass

WORD = 8
_HEADER = 16
_PER_THREAD = 4

MAIN_BEAT, FETCHER_BEAT, PROCESSED, FAILED, IN_FLIGHT, BUSY = range(6)


@dataclass(frozen=True, slots=True)
class Running:
    """One job that a thread has started: *sequence* as in its tag, *started* in monotonic ns."""

    sequence: int
    started: int
    thread_ident: int


class Page:
    """One child's page: a view of 64-bit words."""

    def __init__(self, words: memoryview[int], threads: int) -> None:
        self.words = words
        self.threads = threads

    def clear(self) -> None:
        """Forget the previous child that used this page."""
        for index in range(len(self.words)):
            self.words[index] = 0

    def beat(self, word: int) -> None:
        self.words[word] = time.monotonic_ns()

    def last(self, word: int) -> float:
        """When it beat last (monotonic seconds); 0.0 before the first time."""
        return self.words[word] / 1e9

    def age(self, word: int) -> float:
        """Seconds since a beat; 0.0 before the first one."""
        last = self.words[word]
        return (time.monotonic_ns() - last) / 1e9 if last else 0.0

    def thread_offset(self, thread: int) -> int:
        """Index of the first word of job thread *thread*."""
        return _HEADER + _PER_THREAD * thread

    def running(self) -> list[Running]:
        """The jobs that have started and not ended."""
        found = []
        for thread in range(self.threads):
            at = self.thread_offset(thread)
            if sequence := self.words[at]:
                found.append(Running(sequence, self.words[at + 1], self.words[at + 2]))
        return found


class Scoreboard:
    """All pages. Made by the master before it forks anything."""

    def __init__(self, pages: int, threads: int) -> None:
        words = _HEADER + _PER_THREAD * threads
        size = -(-words * WORD // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, pages * size)
        view = memoryview(self._memory)
        self.pages = [
            Page(view[at : at + words * WORD].cast("Q"), threads)
            for at in range(0, pages * size, size)
        ]
