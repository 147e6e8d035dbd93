"""Scoreboard: shared memory in which each child publishes its state, readable even after its death.

There is one page per child, written only by that child (except one word, written by the master) and
read by the master without a system call. Words are 64-bit and aligned, so a reader never sees a
partial write. All times are CLOCK_MONOTONIC nanoseconds, which is the same clock in all processes
and is not affected by clock adjustments.

==========  ==================================================================
word        content
==========  ==================================================================
0           last turn of the main thread's loop
1           last turn of the fetcher's loop
2           jobs finished
3           jobs that raised
4           jobs in flight (claimed and not yet acknowledged)
5           jobs running
6           not 0 while jobs that were delivered but not read are being taken over: written by
            the master only (see rescue.py there)
7           sequence number of a job whose cancellation is forced, 0 if there is none
8           since when
16 + w      blocking claim *w*: first of the sequence numbers reserved for the jobs it
            delivers, 0 when it has ended and they have been read
32          place 0: sequence number of the running job, 0 when idle
33          ident of its thread, to find it in a raw stack dump
34          deadline of the running job, 0 for none
35          start of the running job
36 … 195    its payload, or only the class and jid, padded with zeros; written with the start,
            while the sequence number is 0
196 …       place 1, and so on
==========  ==================================================================

A place is what one job runs in: first come the job threads, then the coroutines of the event loop,
which all have the ident of its thread.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from dataclasses import dataclass

from jobd.wire import job_name
from jobd.wire.job_name import JobName

WORD = 8
_WAITS = 16
MOST_WAITS = 16
"""Maximum number of concurrent blocking claims of a worker."""

_HEADER = _WAITS + MOST_WAITS

PAYLOAD = 1280
"""Maximum size of a payload in a page; longer ones are reduced to class and jid, once the job has
been parsed."""

SEQUENCE, IDENT, DEADLINE, STARTED = range(4)
"""Offsets in the words of a place."""

START = struct.Struct(f"Q{PAYLOAD}s")
"""Written at STARTED in one step when a job starts: its start time and payload."""

_NAME = struct.Struct(f"{PAYLOAD}s")

_PER_PLACE = STARTED + START.size // WORD

# Fixes the size, even if a job tampers with foreign descriptors: reading memory beyond the end of a
# shrunk file kills the process.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

MAIN_BEAT, FETCHER_BEAT, PROCESSED, FAILED, IN_FLIGHT, BUSY, RESCUE, FORCED, FORCED_AT = range(9)


@dataclass(frozen=True, slots=True)
class Running:
    """A running job: *sequence* as in its tag, *started* and *deadline* in monotonic ns (0: no
    deadline). *payload* may be reduced to class and jid. *forced*: it has been cancelled for good,
    and its deadline is the time of that."""

    sequence: int
    started: int
    thread_ident: int
    deadline: int = 0
    payload: bytes = b""
    forced: bool = False

    @property
    def name(self) -> JobName | None:
        """The job's name, or None if it cannot be read."""
        return job_name.job_name(self.payload)


class Page:
    """The page of a child: its *memory*, and a view of it as 64-bit words."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.words = memoryview(memory).cast("Q")
        self.places = (len(self.words) - _HEADER) // _PER_PLACE

    @classmethod
    def make(cls, places: int) -> tuple[Page, int]:
        """A new page for a child that runs at most *places* jobs at a time, and its descriptor,
        with which another process can :meth:`attach` it.

        Raises:
            OSError: out of descriptors or memory.
        """
        fd = os.memfd_create("jobd-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, (_HEADER + _PER_PLACE * places) * WORD)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            return cls(mmap.mmap(fd, 0)), fd
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> Page:
        """The page that another process created; *fd* can be closed afterwards."""
        return cls(mmap.mmap(fd, 0))

    def close(self) -> None:
        """Unmap the memory; its last content can still be read."""
        last = memoryview(bytes(self.words)).cast("Q")
        self.words.release()
        self.words = last
        self.memory.close()

    def beat(self, word: int) -> None:
        self.words[word] = time.monotonic_ns()

    def last(self, word: int) -> float:
        """Time of the last heartbeat (monotonic seconds); 0.0 before the first one."""
        return self.words[word] / 1e9

    def age(self, word: int) -> float:
        """Seconds since the last heartbeat; 0.0 before the first one."""
        last = self.words[word]
        return (time.monotonic_ns() - last) / 1e9 if last else 0.0

    def offset(self, place: int) -> int:
        """Index of the first word of *place*."""
        return _HEADER + _PER_PLACE * place

    def name(self, offset: int, class_: str, jid: str) -> None:
        """Name the running job of the thread at *offset*, whose payload does not fit."""
        _NAME.pack_into(self.memory, (offset + STARTED + 1) * WORD, job_name.brief(class_, jid))

    def show_forced(self, sequence: int, at: float) -> None:
        """Record that the cancellation of a job is forced since *at* (monotonic s); with *sequence*
        0, that there is none."""
        self.words[FORCED_AT] = int(at * 1e9)
        self.words[FORCED] = sequence

    def show_wait(self, wait: int, first: int) -> None:
        """Record that a blocking claim has begun; with *first* 0, that it has ended."""
        self.words[_WAITS + wait] = first

    def waits(self) -> list[int]:
        """First sequence numbers of the blocking claims that have not ended."""
        return [first for first in self.words[_WAITS:_HEADER] if first]

    def sequences(self, places: int | None = None) -> list[int]:
        """The sequence numbers of the running jobs; only those in the first *places*, if given."""
        end = None if places is None else self.offset(places)
        return [sequence for sequence in self.words[_HEADER:end:_PER_PLACE] if sequence]

    def running(self) -> list[Running]:
        """The running jobs."""
        found = []
        must_end, since = self.words[FORCED], self.words[FORCED_AT]
        for place, sequence in enumerate(self.words[_HEADER::_PER_PLACE]):
            if sequence:
                at = self.offset(place)
                _, ident, deadline, started = self.words[at : at + STARTED + 1]
                text = self.words[at + STARTED + 1 : at + _PER_PLACE].tobytes()
                # It may be (partly) the payload of the next job by now.
                payload = text.rstrip(b"\0") if self.words[at] == sequence else b""
                forced = sequence == must_end
                deadline = since if forced else deadline
                found.append(Running(sequence, started, ident, deadline, payload, forced))
        return found
