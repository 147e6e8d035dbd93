"""How one log record becomes bytes: a line for people, or a JSON object.

Whatever an application logs must come out as exactly one record: control characters are escaped
(no forged lines, no terminal tricks), values that JSON does not know are shown by ``repr``, and
passwords inside URLs are masked.
"""

from __future__ import annotations

import os
import re
import threading
import time
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

Renderer = Callable[[str, MutableMapping[str, Any]], bytes]

_PRIORITIES = {"critical": 2, "fatal": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_COLOURS = {"critical": "1;31", "error": "31", "warning": "33", "info": "32", "debug": "2"}
_PASSWORD = re.compile(rb"(sentinel://|://[^\s:/@\"']*:)[^\s\"']+@")
_QUERY_PASSWORD = re.compile(rb"(?i)([?&][a-z_]*password)=[^\s&\"'#]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_BLOCK = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN_VALUE = re.compile(r"[^\s\"'=\x00-\x1f\x7f-\x9f]+")
_encode = msgspec.json.Encoder(enc_hook=lambda value: _text(value)).encode


def under_journal(fd: int) -> bool:
    """Whether *fd* is the stream that systemd connected to the journal (``JOURNAL_STREAM``)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


class _Format:
    """What both formats share: who writes, and where to."""

    def __init__(self, role: str, fd: int) -> None:
        self._role = role
        self._journal = under_journal(fd)
        self._second = (0, "")

    def _now(self) -> str:
        now = time.time()
        whole = int(now)
        second, text = self._second
        if whole != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(whole))
            self._second = (whole, text)  # one assignment: other threads see old or new
        return f"{text}{int((now - whole) * 1000):03d}Z"


class Console(_Format):
    """``2026-11-23T09:00:00.123Z INFO    worker.0[4711] job-3: event  key=value``

    On a terminal in colours; in the journal without the time, with the priority it understands.
    """

    def __init__(self, role: str, fd: int) -> None:
        super().__init__(role, fd)
        self._colours = (
            os.isatty(fd) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        )

    def __call__(self, level: str, event: MutableMapping[str, Any]) -> bytes:
        text = _one_line(_text(event.pop("event", "")))
        error = event.pop("exc_info", None)
        stack = event.pop("stack", None)
        logger = str(event.pop("logger", ""))
        if logger and not logger.startswith("jobd"):
            event["logger"] = logger
        thread = threading.current_thread().name
        who = f"{self._role}[{os.getpid()}]" + ("" if thread == "MainThread" else f" {thread}")
        fields = " ".join(f"{_name(name)}={_value(value)}" for name, value in event.items())
        head = f"{level.upper():<7}"
        if self._colours:
            head = f"\x1b[{_COLOURS.get(level, '0')}m{head}\x1b[0m"
            fields = f"\x1b[2m{fields}\x1b[0m" if fields else ""
        line = f"{head} {who:<22} {text}" + (f"  {fields}" if fields else "")
        if error is not None:
            line += "\n" + _traceback(error)
        if stack:
            line += "\n" + _CONTROL_IN_BLOCK.sub(_escape, str(stack))
        line = _prioritised(level, line) if self._journal else f"{self._now()} {line}"
        return _mask(_bytes(line) + b"\n")


class Json(_Format):
    """One object a line, beginning with timestamp, level, role, pid, thread and event."""

    def __call__(self, level: str, event: MutableMapping[str, Any]) -> bytes:
        record: dict[str, Any] = {
            "timestamp": self._now(),
            "level": level,
            "role": self._role,
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
            "event": _text(event.pop("event", "")),
        }
        if self._journal:
            del record["timestamp"]
        error = event.pop("exc_info", None)
        for name, value in event.items():
            # A field that an application happens to call "level" must not replace ours.
            record[f"{name}_" if name in record else name] = value
        if error is not None:
            record["exception"] = _traceback(error)
        try:
            line = _encode(record)
        except (ValueError, TypeError, RecursionError, OverflowError):
            line = _encode({name: _encodable(value) for name, value in record.items()})
        if self._journal:
            line = b"<%d>" % _PRIORITIES.get(level, 6) + line
        return _mask(line + b"\n")


def _encodable(value: object) -> object:
    if isinstance(value, int | float | None):
        return value if not isinstance(value, int) or value.bit_length() < 64 else str(value)
    return _bytes(_text(value)).decode()


def _text(value: object) -> str:
    """*value* as text, whatever its own ``__str__`` does."""
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a foreign __repr__ may raise anything
        return f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"


def _value(value: object) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    text = _text(value)
    if _PLAIN_VALUE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"') if isinstance(value, str) else text
    return f'"{_one_line(escaped)}"' if isinstance(value, str) else _one_line(escaped)


def _name(name: str) -> str:
    return name if name.isidentifier() else _value(name)


def _one_line(text: str) -> str:
    return _CONTROL.sub(_escape, text) if not text.isprintable() else text


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _traceback(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception as second:  # noqa: BLE001 - a foreign __str__ may raise anything
        text = f"{type(error).__name__} (its traceback cannot be shown: {type(second).__name__})"
    return _CONTROL_IN_BLOCK.sub(_escape, text)


def _prioritised(level: str, text: str) -> str:
    prefix = f"<{_PRIORITIES.get(level, 6)}>"
    return "\n".join(prefix + line for line in text.split("\n"))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _mask(line: bytes) -> bytes:
    if b"://" not in line:
        return line
    if b"@" in line:
        line = _PASSWORD.sub(rb"\1***@", line)
    return _QUERY_PASSWORD.sub(rb"\1=***", line) if b"assword=" in line.lower() else line
