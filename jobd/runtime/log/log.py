"""Logging with structlog and the standard library's logging, into one file.

Every record is one line: readable (``console``) or a JSON object (``json``). It is written at once,
unless its logger comes from :func:`get_held`.
Loggers created before :func:`configure`, or before a fork, use the latest configuration, because
they share its processor list and class; a disabled level costs an empty call.

Passwords in URLs are masked in the finished line, however they were formatted.

Logging calls never raise, whatever their arguments, so that a job that has done its work does not
fail because of a log message. Only asynchronous interruptions of a job pass through.
"""

from __future__ import annotations

import logging
import operator
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from jobd.runtime.log.file import LogFile
from jobd.runtime.log.format import Console, Json, Renderer
from jobd.runtime.log.stderr import STDERR
from jobd.runtime.log.values import DEFAULT_MOST
from jobd.text.printable import INTERRUPTIONS, kind_of, shown, text_of

__all__ = ["add_context", "configure", "flush", "get", "get_held"]

_LONGEST_LEVEL = 20
_OURS = {"self", "method_name", "event"}
_ALIASES = {"msg": "info", "warn": "warning", "fatal": "critical"}
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_METHODS = {**{name: name for name in _LEVELS}, **_ALIASES}
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Logger(structlog.BoundLoggerBase):
    """The class of all loggers; :func:`configure` sets its methods according to the level."""

    def exception(self, event: object = None, /, *args: object, **fields: object) -> None:
        """Log an error with the traceback of the current exception."""
        self._write("error", event, args, {"exc_info": True, **fields})

    def _write(
        self, level: str, event: object, args: tuple[object, ...], fields: EventDict
    ) -> None:
        try:
            if args:
                event = _interpolated(event, args, fields)
            if not _OURS.isdisjoint(fields):
                fields = {f"{name}_" if name in _OURS else name: fields[name] for name in fields}
            self._proxy_to_logger(level, cast(str, event), **fields)
        except INTERRUPTIONS:
            raise
        except BaseException as error:  # noqa: BLE001 - a processor of the application
            _sink.logfile.write(_unreadable(error))


class _Sink:
    """The logger that structlog wraps: the method of every level writes to the log file."""

    def __init__(self) -> None:
        self.logfile = LogFile(STDERR, "")
        self.format: type[Console | Json] = Console
        self.most = DEFAULT_MOST
        self.render: Renderer = Console("jobd", self.logfile.fd)

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *args, **fields: self.logfile.write(_finished(level, args, fields))


class _Holding:
    """The same, for loggers whose records are held."""

    def hold(self, record: bytes) -> None:
        _sink.logfile.hold(record)

    debug = info = warning = error = critical = hold


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
    try:
        if "exc_info" in event and (error := _exception(event.pop("exc_info"))) is not None:
            event["exc_info"] = error
        return _sink.render(method, event)
    except INTERRUPTIONS:
        raise
    except BaseException as error:  # noqa: BLE001 - a value whose class is broken
        return _unreadable(error)


def _unreadable(error: BaseException) -> bytes:
    fields = {"event": "log_record_unreadable", "logger": "jobd.log", "error": kind_of(error)}
    return _sink.render("error", fields)


def _finished(level: str, args: tuple[object, ...], fields: EventDict) -> bytes:
    """The line from :func:`_rendered`, or one for the result of the application's own
    processors."""
    if len(args) == 1 and type(args[0]) is bytes and args[0].endswith(b"\n"):
        return args[0]
    event = args[0] if len(args) == 1 else args
    return _rendered(None, level, {**fields, "event": event})


def _interpolated(event: object, args: tuple[object, ...], fields: EventDict) -> object:
    """*event* formatted with its *args*; if they do not fit, unchanged, with a note of that."""
    try:
        named = len(args) == 1 and issubclass(type(args[0]), Mapping) and args[0]
        return operator.mod(event, args[0] if named else args)
    except INTERRUPTIONS:
        raise
    except BaseException as error:  # noqa: BLE001 - a foreign __str__ may raise anything
        fields["format_error"] = f"{kind_of(error)}: {text_of(error)}"
        return event


_processors: list[Processor] = [_contextual, _rendered]


def get(name: str) -> FilteringBoundLogger:
    """The logger for a module: ``_log = log.get(__name__)``.

    Example:
        >>> get("jobd.keeper").debug("not shown at the level info")
    """
    return cast(FilteringBoundLogger, _Logger(_sink, _processors, {"logger": name}))


def get_held(name: str) -> FilteringBoundLogger:
    """Like :func:`get`, for records too frequent to be written one by one: :func:`flush` writes
    them."""
    return cast(FilteringBoundLogger, _Logger(_holding, _processors, {"logger": name}))


def flush() -> None:
    """Write the held records; see :meth:`LogFile.flush` for its restrictions."""
    _sink.logfile.flush()


def add_context(context: Callable[[], Mapping[str, object]]) -> None:
    """Call *context* at every record for further fields, such as the running job's jid.

    Cheaper than binding them for each job: it costs nothing unless something is logged.
    """
    if context not in _contexts:
        _contexts.append(context)


def configure(
    logfile: LogFile, level: str, format: str, role: str, most: int = DEFAULT_MOST
) -> None:
    """Send everything that is logged in this process to *logfile*. Call it again after a fork.

    Args:
        logfile: destination.
        level: lowest level that is logged: debug, info, warning or error.
        format: console or json.
        role: role of the process, e.g. ``master`` or ``worker.0``; part of every record.
        most: maximum length of a value, message or traceback in characters.
    """
    _sink.logfile = logfile
    _sink.format = Json if format == "json" else Console
    _sink.most = most
    rename(role)
    logfile.render = lambda text: _sink.render(
        "warning", {"event": "log_file", "logger": "jobd.log", "note": text}
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
    """Log as *role* from now on, without changing the rest of the configuration: for the fork of a
    process that has imported the application."""
    _sink.render = _sink.format(role, _sink.logfile.fd, _sink.most)


def _set_level(level: int) -> None:
    chosen = structlog.make_filtering_bound_logger(level)
    for name, method in vars(chosen).items():
        if not name.startswith("__") and name != "exception":
            setattr(_Logger, name, method)
    for name, method in _METHODS.items():
        if _LEVELS[method] >= level:
            setattr(_Logger, name, _method(method))
            setattr(_Logger, f"a{name}", _coroutine(name))

    def log(
        self: _Logger, number: object, event: object = None, *args: object, **fields: object
    ) -> None:
        known = number if type(number) is int else _LEVELS["info"]
        if known >= level:
            name = next((name for name, least in _LEVELS.items() if least >= known), "critical")
            self._write(name, event, args, fields)

    for name, one in {
        "log": log,
        "alog": _coroutine("log"),
        "aexception": _coroutine("exception"),
    }.items():
        setattr(_Logger, name, one)


def _method(level: str) -> Callable[..., None]:
    def method(self: _Logger, event: object = None, /, *args: object, **fields: object) -> None:
        if args or "event" in fields or "method_name" in fields:
            self._write(level, event, args, fields)
            return
        try:  # fast path, without a further call
            self._proxy_to_logger(level, cast(str, event), **fields)
        except INTERRUPTIONS:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            _sink.logfile.write(_unreadable(error))

    return method


def _coroutine(name: str) -> Callable[..., Coroutine[object, None, None]]:
    async def coroutine(self: _Logger, /, *args: object, **fields: object) -> None:
        getattr(self, name)(*args, **fields)

    return coroutine


def _exception(given: object) -> BaseException | None:
    if issubclass(type(given), BaseException):
        return cast(BaseException, given)
    if type(given) is tuple:
        return next((one for one in given[1:2] if issubclass(type(one), BaseException)), None)
    none = given is None or given is False or (type(given) is int and given == 0)
    return None if none else sys.exc_info()[1]


class _Handler(logging.Handler):
    """Handles the records of the standard library's loggers.

    It uses no lock: a single ``write()`` needs none, and a fork could leave it locked.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        try:
            passed: object = self.filter(record)  # since Python 3.12, it can be another record
            if passed:
                self.emit(passed if isinstance(passed, logging.LogRecord) else record)
            return bool(passed)
        except INTERRUPTIONS:
            raise
        except BaseException as error:  # noqa: BLE001 - a filter of the application
            _sink.logfile.write(_unreadable(error))
            return False

    def emit(self, record: logging.LogRecord) -> None:
        event: EventDict = {
            name: value
            for name, value in vars(record).items()
            if type(name) is not str or name not in _OWN_ATTRIBUTES
        }
        try:
            event["event"] = record.getMessage()
        except INTERRUPTIONS:
            raise
        except BaseException as error:  # noqa: BLE001 - a foreign __str__ may raise anything
            event["event"] = text_of(record.msg)
            event["format_error"] = f"{kind_of(error)}: {text_of(error)}"
        event["logger"] = record.name
        event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack"] = record.stack_info
        level = shown(text_of(record.levelname, _LONGEST_LEVEL)).lower()
        _sink.logfile.write(_rendered(None, level, _contextual(None, level, event)))


_set_level(_LEVELS["info"])
os.register_at_fork(after_in_child=lambda: _sink.logfile.disown())
