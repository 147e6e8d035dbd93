"""Logging: what a record looks like, where it goes, and what it must never show or cost."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import threading
import timeit
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobd.master.phase import Phase
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.process import stacks


class Output:
    """A log file that is configured and read back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logfile = LogFile.open(str(path))

    def configure(self, format: str, level: str = "info", role: str = "worker.0") -> None:
        log.configure(self.logfile, level, format, role)

    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    made = Output(tmp_path / "log")
    yield made
    log.configure(LogFile.open(""), "info", "console", "test")
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    os.close(made.logfile.fd)


_early = log.get("jobd.early")


def test_a_json_record_has_all_its_fields(output: Output) -> None:
    output.configure("json")
    _early.info("job done", jid="abc", elapsed=0.25)
    (record,) = output.records()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == {
        "level": "info",
        "role": "worker.0",
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
        "event": "job done",
        "logger": "jobd.early",
        "jid": "abc",
        "elapsed": 0.25,
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123456789, "0.123457"), (1764583740.0, "1764583740.0"), (-1234567.89, "-1234567.89")],
)
def test_a_console_line_shortens_durations_but_no_moments(
    output: Output, value: float, shown: str
) -> None:
    output.configure("console")
    _early.info("paid", amount=value)
    assert output.lines()[0].endswith(f"paid  amount={shown}")


def test_a_console_line_is_aligned_and_readable(output: Output) -> None:
    output.configure("console")
    _early.warning("queue is long", queue="default", size=3, note="a b", empty="")
    (line,) = output.lines()
    assert re.fullmatch(
        r"\S{24} WARNING worker\.0\[\d+\] +queue is long  "
        r'queue=default size=3 note="a b" empty=""',
        line,
    )
    assert "\x1b" not in line


def test_a_member_of_an_enumeration_of_texts_is_its_text(output: Output) -> None:
    output.configure("console")
    _early.info("state_changed", state=Phase.RUNNING)
    assert output.lines()[0].endswith("state=running")
    output.configure("json")
    _early.info("state_changed", state=Phase.RUNNING)
    assert json.loads(output.lines()[1])["state"] == "running"


def test_a_terminal_gets_colours_unless_they_are_unwanted(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    leader, follower = pty.openpty()
    terminal = LogFile(follower, "")
    log.configure(terminal, "info", "console", "master")
    _early.info("hello")
    assert b"\x1b[32mINFO" in os.read(leader, 1000)
    monkeypatch.setenv("NO_COLOR", "1")
    log.configure(terminal, "info", "console", "master")
    _early.info("hello")
    assert b"\x1b" not in os.read(leader, 1000)
    os.close(leader)
    os.close(follower)


@pytest.mark.parametrize("format", ["console", "json"])
def test_the_journal_gets_priorities(
    output: Output, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    status = os.fstat(output.logfile.fd)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    output.configure(format)
    _early.info("one")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        _early.exception("failed")
    lines = output.lines()
    assert lines[0].startswith("<6>")
    assert not re.search(r"\d\d:\d\d:\d\d", output.text())
    assert all(line.startswith("<3>") for line in lines[1:])


def test_loggers_made_before_follow_every_new_configuration(output: Output) -> None:
    bound = _early.bind(batch=7)
    output.configure("json", role="master")
    bound.info("one")
    bound.debug("hidden")
    output.configure("json", level="debug", role="worker.3")
    bound.debug("two")
    output.configure("json", level="error", role="worker.3")
    bound.warning("hidden")
    shown = [(one["event"], one["role"], one["batch"]) for one in output.records()]
    assert shown == [("one", "master", 7), ("two", "worker.3", 7)]


def test_a_level_that_is_off_costs_next_to_nothing(output: Output) -> None:
    output.configure("json")
    count = 20_000
    best = min(timeit.repeat(lambda: _early.debug("x", jid="a"), number=count, repeat=5)) / count
    assert best < 1e-6
    assert output.text() == ""


def test_context_is_part_of_each_record(output: Output) -> None:
    output.configure("json")
    job: dict[str, object] = {"jid": "j1"}

    def context() -> dict[str, object]:
        return job

    log.add_context(context)
    log.add_context(context)
    try:
        with structlog.contextvars.bound_contextvars(queue="low"):
            _early.info("one")
            _early.info("two", queue="given")
        job.clear()
        logging.getLogger("shop").warning("three")
    finally:
        log._contexts.clear()
    shown = [(one.get("jid"), one.get("queue")) for one in output.records()]
    assert shown == [("j1", "low"), ("j1", "given"), (None, None)]


def test_the_standard_librarys_loggers_go_the_same_way(output: Output) -> None:
    output.configure("json")
    shop = logging.getLogger("shop.orders")
    shop.debug("hidden")
    shop.warning("order %d", 5, extra={"customer": "ann", "level": "gold"})
    try:
        raise KeyError("x")
    except KeyError:
        shop.exception("failed")
    first, second = output.records()
    assert (first["event"], first["logger"], first["level"]) == (
        "order 5",
        "shop.orders",
        "warning",
    )
    assert (first["customer"], first["level_"]) == ("ann", "gold")
    assert "KeyError: 'x'" in second["exception"]


def test_a_record_that_cannot_be_formatted_is_logged_all_the_same(
    output: Output, capfd: pytest.CaptureFixture[str]
) -> None:
    output.configure("json")
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if isinstance(one, log._Handler)]
    logging.getLogger("shop").error("%d and %s", "one")
    (record,) = output.records()
    assert record["event"] == "%d and %s"
    assert "TypeError" in record["format_error"]
    assert capfd.readouterr().err == ""


def test_configuring_again_does_not_double_the_lines(output: Output) -> None:
    output.configure("json")
    output.configure("json")
    logging.getLogger("shop").error("once")
    assert len(output.lines()) == 1


def test_warnings_are_logged(output: Output) -> None:
    output.configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in output.records()[0]["event"]


def test_applications_that_use_structlog_share_the_file(output: Output) -> None:
    output.configure("json")
    structlog.get_logger().info("from the application", order=3)
    (record,) = output.records()
    assert (record["event"], record["order"]) == ("from the application", 3)


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Lazy:
    """As those of web frameworks, whose class is another one's, and takes a query."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class Nameless(threading.Thread):
    @property
    def name(self) -> str:
        raise RuntimeError("no")

    @name.setter
    def name(self, value: str) -> None: ...


class NastyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("format", ["console", "json"])
@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"\xff",
        1 << 90,
        float("nan"),
        float("inf"),
        "\ud800",
        {(1, 2): 3},
        {"deep": {"\ud800": object()}},
        Nasty(),
        [Nasty()],
        _circular(),
        None,
        True,
        Path("/x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_can_be_logged(output: Output, format: str, value: object) -> None:
    output.configure(format)
    _early.info("strange", value=value)
    (line,) = output.lines()
    assert "strange" in line
    if format == "json":
        json.loads(line)


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_lazy_object_that_breaks_costs_no_record(output: Output, format: str) -> None:
    output.configure(format)
    _early.info(Lazy())  # type: ignore[arg-type]
    _early.info("read %s", Lazy())
    _early.error("read", exc_info=Lazy())
    logging.getLogger("shop").warning(Lazy())
    assert len(output.lines()) == 4
    assert "log_record_unreadable" not in output.text()


def test_any_name_of_a_field_is_one(output: Output) -> None:
    output.configure("json")
    names = ["self", "event", "method_name", "level", "thread", "name", "cls", "args", "fields"]
    _early.info("strange", **dict.fromkeys(names, 5))
    (record,) = output.records()
    assert record["event"] == "strange"
    assert list(record.values()).count(5) == len(names)


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_thread_whose_name_cannot_be_had_can_log(output: Output, format: str) -> None:
    output.configure(format)

    def work() -> None:
        _early.info("strange")
        seen.append(stacks.dump())

    seen: list[str] = []
    thread = Nameless(target=work)
    thread.start()
    thread.join()
    (line,) = output.lines()
    assert "strange" in line
    assert "Nameless" in line
    assert "Nameless" in seen[0]


@pytest.mark.parametrize("format", ["console", "json"])
def test_an_exception_that_cannot_be_shown_is_no_problem(output: Output, format: str) -> None:
    output.configure(format)
    _early.error("failed", exc_info=NastyError())
    assert "NastyError" in output.text()


@pytest.mark.parametrize("format", ["console", "json"])
def test_nobody_can_forge_a_line_or_reach_the_terminal(output: Output, format: str) -> None:
    output.configure(format)
    evil = "x\n2026-01-01T00:00:00.000Z INFO forged \x1b[31m\x9b\u2028"
    _early.info(evil, value=evil, nested=[evil])
    _early.info("by name", **{evil: 1})
    logging.getLogger(evil).warning(evil)
    text = output.text()
    assert len(text.split("\n")) == 4  # three lines and the end of the last
    assert "\x1b" not in text
    if format == "console":
        assert "\x9b" not in text
        assert "\u2028" not in text


def test_passwords_in_urls_are_masked_wherever_they_are(output: Output) -> None:
    for format in ("console", "json"):
        output.configure(format)
        _early.info("connecting to redis://app:geheim@db/0", url="redis://:geheim@db:6379/0")
        _early.info("nested", value={"urls": ["redis+sentinel://geheim@a:1,b:2/main"]})
        _early.info("query", url="unix:///run/r.sock?db=0&password=geheim")
        logging.getLogger("shop").error("at %s", "rediss://u:ge@geheim@db")
        try:
            raise ValueError("cannot reach redis://app:geheim@db:6379/0")
        except ValueError:
            _early.exception("failed")
    text = output.text()
    assert "geheim" not in text
    assert "redis://app:***@db/0" in text


def test_a_process_forked_later_has_its_own_pid(output: Output) -> None:
    output.configure("json")
    child = os.fork()
    if not child:
        _early.info("child")
        os._exit(0)
    os.waitpid(child, 0)
    assert output.records()[0]["pid"] == child


def test_held_records_are_written_once_and_together(output: Output) -> None:
    output.configure("json")
    held = log.get_held("jobd.job")
    held.info("first", n=1)
    assert not output.text()
    child = os.fork()
    if not child:
        _early.info("child")
        os._exit(0)
    os.waitpid(child, 0)
    _early.info("second")
    held.info("third")
    log.flush()
    events = [record["event"] for record in output.records()]
    assert events == ["child", "second", "first", "third"]


def test_the_log_files_own_notices_have_the_same_format(output: Output) -> None:
    output.configure("json")
    output.path.rename(output.path.with_suffix(".1"))
    output.path.mkdir()
    assert output.logfile.reopen()
    output.path.rmdir()
    output.path.with_suffix(".1").rename(output.path)
    (record,) = output.records()
    assert (record["level"], record["role"]) == ("warning", "worker.0")
    assert record["event"] == "log_file"
    assert "continuing with the old file" in record["note"]
