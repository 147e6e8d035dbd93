"""A wall clock that a test can set, for processes that it starts.

No test may set the clock of the machine it runs on. So a small library, compiled on the spot, is
loaded before the C library into the processes, and adds to the time of day what a page of shared
memory says; the monotonic clock is the kernel's.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

LIBRARY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (where) *where = precise.tv_sec;
    return precise.tv_sec;
}
"""


class NoClock(Exception):
    """Such a clock cannot be made here."""


class Clock:
    """The wall clock of whatever is started with :attr:`environment`.

    Args:
        directory: takes the library and the page.

    Raises:
        NoClock: there is no C compiler that works.
    """

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoClock("a clock that can be set needs a C compiler (cc)")
        source, library = directory / "clock.c", directory / "clock.so"
        source.write_text(LIBRARY)
        built = subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)],
            capture_output=True,
            text=True,
        )
        if built.returncode:
            raise NoClock(f"the C compiler does not work: {built.stderr.strip()[:200]}")
        page = directory / "offset"
        page.write_bytes(bytes(8))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(page)}

    def step(self, seconds: int) -> None:
        """Have the clock differ from the real one by *seconds*."""
        self._page[:8] = struct.pack("q", seconds)

    def close(self) -> None:
        self._page.close()
