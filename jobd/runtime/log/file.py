"""The log file: one descriptor, no buffering, whole records in one ``write()``.

The descriptor's number never changes: reopening replaces the file behind it with ``dup2``, so
threads, the standard library's logging and faulthandler do not notice a rotation. A full disk or a
failed device loses log records, never jobs: lost records are counted, and their number is logged
when writing works again. The same applies to standard error if its reader stops reading.

A thread releases the interpreter lock for each ``write()``, which costs more than the write. So
records that are logged for every job can be held for a few milliseconds until the next flush, and
are then written together.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from jobd.errors import Exit, JobdError
from jobd.runtime.log.stderr import STDERR, Outlet
from jobd.runtime.process import safe_path
from jobd.text.printable import paragraph

_MODE = 0o640
_DEVICES = {"/dev", "/dev/fd", "/proc/self/fd"}
_COMPLAIN_EVERY = 10.0  # seconds

_TOGETHER = 4096
"""Maximum bytes of records written together (PIPE_BUF): a larger write to a pipe is not atomic, and
another process could write into the middle of a line."""


class LogFileError(JobdError):
    """The log file cannot be opened."""

    exit_code = Exit.CANNOT_CREATE


def _plain(text: str) -> bytes:
    return f"jobd: {paragraph(text)}\n".encode()


class LogFile:
    """An open log file, or standard error.

    Attributes:
        fd: number of the descriptor, constant for the lifetime of the process.
        path: absolute path, "" for standard error.
        render: formats the messages of this class itself; set by ``jobd.log.configure``, so that
            these lines look like all others.

    Example:
        >>> log = LogFile.open("/var/log/jobd/jobd.log")  # doctest: +SKIP
        >>> log.write(b"hello\\n")  # doctest: +SKIP
    """

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.render: Callable[[str], bytes] = _plain
        self._stderr = Outlet()
        self._put: Callable[[bytes], int] = self._append
        self._dropped = 0
        self._reason = ""
        self._torn = False
        self._held: deque[bytes] = deque()
        self._complained = -_COMPLAIN_EVERY
        # Acquired without waiting: a process forked while another thread holds it must not hang.
        self._reporting = threading.Lock()

    @classmethod
    def open(cls, path: str) -> LogFile:
        """Open *path* for appending, or standard error if it is empty.

        Raises:
            LogFileError: it cannot be opened.
        """
        if not path:
            log = cls(STDERR, "")
            log._put = log._stderr.write
            return log
        path = str(Path(path).absolute())
        try:
            return cls(_open(path), path)
        except OSError as error:
            raise LogFileError(_cannot_open(path, error)) from error

    def write(self, record: bytes) -> None:
        """Append *record*, which ends with a newline. Never raises; failures are counted."""
        self._write([record])

    def hold(self, record: bytes) -> None:
        """Append *record* with the next :meth:`flush`."""
        self._held.append(record)

    def flush(self) -> None:
        """Write the held records, in order. Only one thread at a time may call this, and no job
        thread: an asynchronous exception could interrupt it before a record is written."""
        together: list[bytes] = []
        size = 0
        while self._held:
            try:
                record = self._held.popleft()
            except IndexError:
                break  # the process is exiting, and another thread has flushed
            if together and size + len(record) > _TOGETHER:
                self._write(together)
                together, size = [], 0
            together.append(record)
            size += len(record)
        if together:
            self._write(together)

    def disown(self) -> None:
        """Discard the held records in a forked copy of the process: the original writes them."""
        self._held.clear()

    def _write(self, records: list[bytes]) -> None:
        block = b"".join(records)
        if self._torn:  # the last record was cut off: start a new line
            block = b"\n" + block
        try:
            written = self._put(block)
        except OSError as error:
            self._drop(len(records), error.strerror or str(error))
            return
        missing = len(block) - written
        self._torn = missing > 0
        if self._torn:
            self._drop(_cut_off(records, missing), "the write was incomplete")
        elif self._dropped:
            self._report()

    def _append(self, block: bytes) -> int:
        return os.write(self.fd, block)

    def reopen(self) -> str | None:
        """Reopen the path after a rotation; the old file stays in use if that fails.

        A failure is logged, and so is an attempt to reopen standard error.

        Returns:
            The error, or None.
        """
        if not self.path:
            self.write(self.render("the log goes to standard error: there is no file to reopen"))
            return None
        try:
            new = _open(self.path)
        except OSError as error:
            text = _cannot_open(self.path, error)
            self.write(self.render(f"{text}; continuing with the old file"))
            return text
        try:
            os.dup2(new, self.fd, inheritable=False)
        finally:
            os.close(new)
        self._torn = False
        return None

    @property
    def trouble(self) -> str:
        """Why log records are lost; "" if they are written. A device that is full is told even
        before this process has lost one: others have it open, too."""
        if self._dropped:
            reason = self._reason
        elif self.path and _is_full(self.fd):
            reason = os.strerror(errno.ENOSPC)
        else:
            return ""
        return f"log records are lost: {self.path or 'standard error'}: {reason}"

    def moved(self) -> bool:
        """Whether the path no longer refers to the open file, so that it should be reopened."""
        if not self.path:
            return False
        try:
            there = Path(self.path).stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False  # reopening would fail in the same way
        try:
            here = os.fstat(self.fd)
        except OSError:
            return True  # its file system has gone away, and another one is there
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _drop(self, records: int, reason: str) -> None:
        self._dropped += records
        self._reason = reason
        now = time.monotonic()
        if not self.path or now - self._complained < _COMPLAIN_EVERY:
            return
        self._complained = now
        text = f"cannot write to the log file {self.path}: {reason}; {self._dropped} records lost"
        self.complain(self.render(text))

    def complain(self, line: bytes) -> None:
        """Write *line* to standard error, even if the log goes elsewhere."""
        try:
            self._stderr.write(line)
        except OSError:
            pass  # the count is logged when the file works again

    def _report(self) -> None:
        if not self._reporting.acquire(blocking=False):
            return
        try:
            lost, self._dropped = self._dropped, 0
            where = "the file could not be written" if self.path else "standard error was not read"
            line = self.render(f"{lost} log records were lost: {where}")
            try:
                complete = self._put(line) == len(line)
            except OSError:
                complete = False
            if not complete:
                self._dropped += lost
        finally:
            self._reporting.release()


def _is_full(fd: int) -> bool:
    """Whether the file system of a file has no room for ordinary users."""
    try:
        found = os.fstatvfs(fd)
    except OSError:
        return False  # it has gone away; a write says so
    return found.f_blocks > 0 and found.f_bavail == 0


def _cut_off(records: list[bytes], missing: int) -> int:
    """How many records are incomplete if the last *missing* bytes are missing."""
    count = 0
    while missing > 0 and count < len(records):
        count += 1
        missing -= len(records[-count])
    return count


def _open(path: str) -> int:
    # Non-blocking: a FIFO without a reader must be an error, not block in open().
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    if os.geteuid() != 0 or str(Path(path).parent) in _DEVICES:
        return os.open(path, flags, _MODE)
    # Root does not follow links that other users could have created.
    with safe_path.entry(Path(path), follow=True) as place:
        fd = place.open(flags, _MODE)
        found = os.fstat(fd)
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if (place.weak or place.shared) and not plain:
            os.close(fd)
            raise OSError(errno.EPERM, "it is not a regular file, and other users may have made it")
        return fd


def _cannot_open(path: str, error: OSError) -> str:
    reason = {
        errno.ENOENT: f"the directory {Path(path).parent} does not exist; create it",
        errno.EACCES: f"uid {os.geteuid()} may not write there; change its owner or mode",
        errno.EISDIR: "it is a directory; give another --logfile",
        errno.ENXIO: "it is a FIFO without a reader; give another --logfile",
    }.get(error.errno or 0, error.strerror or str(error))
    return f"cannot open the log file {path}: {reason}"
