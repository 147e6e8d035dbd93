"""Formatting of log records as readable lines or JSON objects.

Anything that an application logs results in exactly one record of bounded length: values are first
reduced to small, plain ones (:mod:`jobd.runtime.log.values`), with ``repr`` for types that JSON
lacks; then characters that could forge a line or control a terminal are escaped, and passwords in
URLs are masked.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable

import msgspec
from structlog.typing import EventDict

from jobd.runtime.log.values import DEFAULT_MOST, reduced
from jobd.text.masking import mask
from jobd.text.printable import encode, harmless_json, name_of, shown
from jobd.wire.json_value import UNWRITABLE

Renderer = Callable[[str, EventDict], bytes]

_PRIORITIES = {"critical": 2, "fatal": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_COLOURS = {"critical": "1;31", "error": "31", "warning": "33", "info": "32", "debug": "2"}
_LONGEST_NAME = 200
_SHORT = 10_000.0
_CONTINUED = "\n    "
_PLAIN = frozenset({str, int, float, bool, type(None)})
_PLAIN_VALUE = re.compile(r"[^\s\"'=]+")
_encode = msgspec.json.Encoder(enc_hook=str.__str__).encode


def under_journal(fd: int) -> bool:
    """Whether *fd* is the stream that systemd connected to the journal (``JOURNAL_STREAM``)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


_pid = os.getpid()


def _note_pid() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_note_pid)


class _Format:
    """Base class of both formats: the role, the destination, and the maximum length of values."""

    def __init__(self, role: str, fd: int, most: int = DEFAULT_MOST) -> None:
        self._role = role
        self._most = most
        self._journal = under_journal(fd)
        self._second = (0, "")

    def _now(self) -> str:
        now = time.time()
        whole = int(now)
        second, text = self._second
        if whole != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(whole))
            self._second = (whole, text)  # atomic: other threads see the old or the new value
        return f"{text}{int((now - whole) * 1000):03d}Z"


class Console(_Format):
    """``2026-11-23T09:00:00.123Z INFO    worker.0[4711] job-3: event  key=value``

    With colours on a terminal; for the journal without the time and with a priority prefix.
    Continuation lines are indented.
    """

    def __init__(self, role: str, fd: int, most: int = DEFAULT_MOST) -> None:
        super().__init__(role, fd, most)
        self._colours = (
            os.isatty(fd) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        )

    def __call__(self, level: str, event: EventDict) -> bytes:
        record = reduced(event, self._most, for_json=False)
        logger = record.fields.pop("logger", "")
        if not str(logger).startswith("jobd") and logger != "":
            record.fields["logger"] = logger
        thread = shown(_thread())
        who = f"{self._role}[{_pid}]" + ("" if thread == "MainThread" else f" {thread}")
        fields = " ".join(f"{_name(name)}={_value(one)}" for name, one in record.fields.items())
        head = f"{level.upper():<7}"
        if self._colours:
            head = f"\x1b[{_COLOURS.get(level, '0')}m{head}\x1b[0m"
            fields = f"\x1b[2m{fields}\x1b[0m" if fields else ""
        line = f"{head} {who:<22} {shown(record.text)}" + (f"  {fields}" if fields else "")
        for block in (record.traceback, record.dump):
            if block is not None:
                line += "\n" + shown(block, lines=True)
        line = line.replace("\n", _CONTINUED)
        line = _prioritised(level, line) if self._journal else f"{self._now()} {line}"
        return mask(line).encode() + b"\n"


class Json(_Format):
    """One object per line, starting with timestamp, level, role, pid, thread and event."""

    def __call__(self, level: str, event: EventDict) -> bytes:
        record: dict[str, object] = {
            "timestamp": self._now(),
            "level": level,
            "role": self._role,
            "pid": _pid,
            "thread": _thread(),
            "event": "",
        }
        if self._journal:
            del record["timestamp"]
        line = self._plain(record, event) or self._any(record, event)
        if self._journal:
            line = b"<%d>" % _PRIORITIES.get(level, 6) + line
        if b"://" in line:
            line = mask(line.decode()).encode()
        return harmless_json(line) + b"\n"

    def _plain(self, record: dict[str, object], event: EventDict) -> bytes | None:
        """Fast path for most records, as there is one for each job; None if *event* contains large
        or complex values."""
        if not _PLAIN.issuperset(map(type, event.values())):
            return None
        whole: dict[str, object] = {**record, **event}
        if len(whole) != len(record) + len(event) - ("event" in event) or "stack" in event:
            return None
        try:
            line = _encode(whole)
        except UNWRITABLE:
            return None
        return line if len(line) <= self._most and type(whole["event"]) is str else None

    def _any(self, record: dict[str, object], event: EventDict) -> bytes:
        content = reduced(event, self._most, for_json=True)
        record["event"] = content.text
        for name, value in content.fields.items():
            # An application's field called "level", for example, must not replace jobd's.
            record[f"{name}_" if name in record else name] = value
        if content.dump is not None:
            record["stack"] = content.dump
        if content.traceback is not None:
            record["exception"] = content.traceback
        try:
            return _encode(record)
        except UnicodeEncodeError:
            return encode(record)


def _thread() -> str:
    thread = threading.current_thread()
    if type(thread).name is threading.Thread.name:  # a subclass may override it
        name = thread.name
        if type(name) is str and len(name) <= _LONGEST_NAME and name.isascii():
            return name
    return name_of(thread, _LONGEST_NAME)


def _value(value: object) -> str:
    if type(value) is float:
        # Six digits are enough of a duration, but not of a moment or an amount of money.
        return f"{value:.6g}" if abs(value) < _SHORT else repr(value)
    text = value if isinstance(value, str) else repr(value)
    if _PLAIN_VALUE.fullmatch(text) and text.isprintable():
        return text
    if type(value) is not str:
        return shown(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown(escaped)}"'


def _name(name: str) -> str:
    return name if name.isidentifier() else _value(name)


def _prioritised(level: str, text: str) -> str:
    prefix = f"<{_PRIORITIES.get(level, 6)}>"
    return "\n".join(prefix + line for line in text.split("\n"))
