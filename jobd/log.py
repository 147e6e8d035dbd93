"""Logging: structlog, and the standard library's logging of applications, into one file.

Every record is one line: readable (``console``) or a JSON object (``json``). It is written at once,
unless its logger was made by :func:`get_held`.
Loggers made before :func:`configure`, or before a fork, follow the newest configuration, because
they share its processor list and class; a level that is switched off costs one empty call.

Passwords inside URLs are masked in the finished line, so no way of formatting one leaks it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from jobd.logformat import Console, Json, Renderer
from jobd.master.logfile import LogFile
from jobd.master.outlet import STDERR

__all__ = ["add_context", "configure", "flush", "get", "get_held"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Logger(structlog.BoundLoggerBase):
    """The class of every logger; :func:`configure` gives it the methods of the level in force."""


class _Sink:
    """What structlog calls in the end: every level's method writes to the log file."""

    def __init__(self) -> None:
        self.logfile = LogFile(STDERR, "")
        self.format: type[Console | Json] = Console
        self.render: Renderer = Console("jobd", self.logfile.fd)

    def __getattr__(self, level: str) -> Callable[[bytes], None]:
        return self.logfile.write


class _Holding:
    """The same for loggers whose records are held."""

    def __getattr__(self, level: str) -> Callable[[bytes], None]:
        return _sink.logfile.hold


_sink = _Sink()
_holding = _Holding()
_contexts: list[Callable[[], Mapping[str, object]]] = []


def _contextual(_logger: object, _method: str, event: EventDict) -> EventDict:
    for name, value in structlog.contextvars.get_contextvars().items():
        event.setdefault(name, value)
    for context in _contexts:
        for name, value in context().items():
            event.setdefault(name, value)
    return event


def _rendered(_logger: object, method: str, event: EventDict) -> bytes:
    event["exc_info"] = _exception(event.pop("exc_info", None))
    return _sink.render(method, event)


_processors: list[Any] = [_contextual, _rendered]


def get(name: str) -> FilteringBoundLogger:
    """The logger for a module: ``_log = log.get(__name__)``.

    Example:
        >>> get("jobd.keeper").debug("not shown at the level info")
    """
    return cast(FilteringBoundLogger, _Logger(_sink, _processors, {"logger": name}))


def get_held(name: str) -> FilteringBoundLogger:
    """Like :func:`get`, for records so frequent that a write for each is too much: they are
    written by :func:`flush`."""
    return cast(FilteringBoundLogger, _Logger(_holding, _processors, {"logger": name}))


def flush() -> None:
    """Write the records that are held; see :meth:`LogFile.flush` for who may."""
    _sink.logfile.flush()


def add_context(context: Callable[[], Mapping[str, object]]) -> None:
    """Have *context* asked, at every record, for fields such as the running job's jid.

    Cheaper than binding them for each job: nothing is paid where nothing is logged.
    """
    if context not in _contexts:
        _contexts.append(context)


def configure(logfile: LogFile, level: str, format: str, role: str) -> None:
    """Send everything that is logged in this process to *logfile*. Call it again after a fork.

    Args:
        logfile: where to.
        level: least level that is logged: debug, info, warning or error.
        format: console or json.
        role: who writes, e.g. ``master`` or ``worker.0``; part of every record.
    """
    _sink.logfile = logfile
    _sink.format = Json if format == "json" else Console
    rename(role)
    logfile.render = lambda text: _sink.render(
        "warning", {"event": "log_file", "logger": __name__, "note": text}
    )
    _set_level(_LEVELS[level])
    structlog.configure(
        processors=_processors,
        wrapper_class=_Logger,
        logger_factory=lambda *_: _sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler())
    root.setLevel(_LEVELS[level])
    logging.captureWarnings(True)


def rename(role: str) -> None:
    """Write as *role* from now on, and leave all else as :func:`configure` and the application have
    set it up: for the fork of a process that has imported the application."""
    _sink.render = _sink.format(role, _sink.logfile.fd)


def _set_level(level: int) -> None:
    chosen = structlog.make_filtering_bound_logger(level)
    for name, method in vars(chosen).items():
        if not name.startswith("__"):
            setattr(_Logger, name, method)


def _exception(given: object) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return cast("BaseException | None", given[1])
    return sys.exc_info()[1] if given else None


class _Handler(logging.Handler):
    """Takes the records of the standard library's loggers.

    It holds no lock: one ``write()`` needs none, and a fork could leave it locked for ever.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        passed: object = self.filter(record)  # from Python 3.12 on it may be another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        event: EventDict = {
            name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES
        }
        try:
            event["event"] = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a foreign __str__ may raise anything
            event["event"] = str(record.msg)
            event["format_error"] = repr(error)
        event["logger"] = record.name
        event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack"] = record.stack_info
        level = record.levelname.lower()
        _sink.logfile.write(_rendered(None, level, _contextual(None, level, event)))


_set_level(_LEVELS["info"])
os.register_at_fork(after_in_child=lambda: _sink.logfile.disown())
