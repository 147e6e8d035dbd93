"""Shared memory in which each child shows what it is doing, readable even after its death.

One page per child, made for it and gone with it, written by that child only (and one word by the
master), and read by the master without a system call. The words are 64-bit and aligned, so a reader
never sees half of one. All times are CLOCK_MONOTONIC nanoseconds, which all processes of a machine
share and no clock correction moves.

==========  ==================================================================
word        content
==========  ==================================================================
0           last turn of the main thread's loop
1           last turn of the fetcher's loop
2           jobs finished
3           jobs that raised
4           jobs in flight (claimed and not yet acknowledged)
5           jobs running
6           not 0 while others take what has been delivered and not read: written by the
            master only (see rescue.py there)
16 + w      blocking claim *w*: first of the sequence numbers set aside for what it
            delivers, 0 when it is over and that has been read
32          job thread 0: sequence number of the running job, 0 when idle
33          thread ident, to find it in a raw stack dump
34          deadline of the running job, 0 when it may take any time
35          start of the running job
36 … 195    its payload, or the part of it that names it, and zeros; written with the start, while
            the sequence number is 0
196 …       job thread 1, and so on
==========  ==================================================================
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from dataclasses import dataclass

from jobd.wire.job_name import JobName, job_name

WORD = 8
_WAITS = 16
MOST_WAITS = 16
"""Blocking claims of one worker that there may be at a time."""

_HEADER = _WAITS + MOST_WAITS

PAYLOAD = 1280
"""Bytes of a payload that a page has room for; longer ones are cut down to their names."""

SEQUENCE, IDENT, DEADLINE, STARTED = range(4)
"""Places among the words of a job thread."""

START = struct.Struct(f"Q{PAYLOAD}s")
"""What a job that starts writes from STARTED on, at once: when, and its payload."""

_PER_THREAD = STARTED + START.size // WORD

# It stays as large as it is, whatever a job does to descriptors that are not its own: to read
# memory that a file has no more is death.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

MAIN_BEAT, FETCHER_BEAT, PROCESSED, FAILED, IN_FLIGHT, BUSY, RESCUE = range(7)


@dataclass(frozen=True, slots=True)
class Running:
    """One job that a thread has started: *sequence* as in its tag, *started* and *deadline* in
    monotonic ns. Deadline 0: it may take any time. *payload* may have been cut down to its name."""

    sequence: int
    started: int
    thread_ident: int
    deadline: int = 0
    payload: bytes = b""

    @property
    def name(self) -> JobName | None:
        """What it is called, if that can be read."""
        return job_name(self.payload)


class Page:
    """One child's page: its *memory*, and a view of 64-bit words of that."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.words = memoryview(memory).cast("Q")
        self.threads = (len(self.words) - _HEADER) // _PER_THREAD

    @classmethod
    def make(cls, threads: int) -> tuple[Page, int]:
        """A new page for a child with so many job *threads*, and a descriptor of it with which
        another process can :meth:`attach` it.

        Raises:
            OSError: there is no descriptor or no memory left.
        """
        fd = os.memfd_create("jobd-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, (_HEADER + _PER_THREAD * threads) * WORD)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            return cls(mmap.mmap(fd, 0)), fd
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> Page:
        """The page that another process has made; *fd* may be closed then."""
        return cls(mmap.mmap(fd, 0))

    def close(self) -> None:
        """Let go of it; what it showed last can still be read."""
        last = memoryview(bytes(self.words)).cast("Q")
        self.words.release()
        self.words = last
        self.memory.close()

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

    def show_wait(self, wait: int, first: int) -> None:
        """A blocking claim has begun; with *first* 0 it has ended."""
        self.words[_WAITS + wait] = first

    def waits(self) -> list[int]:
        """First sequence numbers of the blocking claims that have not been seen to end."""
        return [first for first in self.words[_WAITS:_HEADER] if first]

    def sequences(self) -> list[int]:
        """The sequence numbers of the jobs that have started and not ended."""
        return [sequence for sequence in self.words[_HEADER::_PER_THREAD] if sequence]

    def running(self) -> list[Running]:
        """The jobs that have started and not ended."""
        found = []
        for thread in range(self.threads):
            at = self.thread_offset(thread)
            if sequence := self.words[at]:
                _, ident, deadline, started = self.words[at : at + STARTED + 1]
                text = self.words[at + STARTED + 1 : at + _PER_THREAD].tobytes()
                # It may be the next one's by now, or a bit of it.
                payload = text.rstrip(b"\0") if self.words[at] == sequence else b""
                found.append(Running(sequence, started, ident, deadline, payload))
        return found
