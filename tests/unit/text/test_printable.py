"""Hostile text on every way out of a process: valid, bounded, harmless; no log call raises."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobctl.daemon import display
from jobd.jobs import loading
from jobd.master.files import statefile
from jobd.runtime.ipc.channel import BACKLOG_BYTES, pair
from jobd.runtime.ipc.launch import Launch, Verdict, await_verdict
from jobd.runtime.ipc.messages import Stacks
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.log.format import Console, Json
from jobd.runtime.process import stacks
from jobd.runtime.process.sdnotify import Notifier
from jobd.settings.load import load
from jobd.text import exceptions, tracebacks
from jobd.text.masking import mask
from jobd.text.printable import cut, encode, harmless, harmless_json, paragraph, shown, text_of
from jobd.worker.run import interrupts
from tests.unit.master.test_statefile import a_state

HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

TEXTS = {
    "surrogate": os.fsdecode(b"caf\xe9.csv"),
    "surrogate pair": "\ud83d\ude00",
    "nul": "a\0b",
    "escape": "\x1b]0;owned\x07\x1b[2J",
    "c1": "\x9b31m\x85",
    "bidi": "\u202egnp.exe\u2066\u200f\u061c",
    "separators": "a\u2028b\u2029c\x0bd\x0ce\rf",
    "newline": "x\n2026-01-01T00:00:00.000Z ERROR   master[1] forged",
    "delete": "\x7f" * 10,
    "long": "x" * 2_000_000,
    "long and hostile": "\udce9\x1b\n" * 100_000,
    "tags": "a\U000e0041b",
}
EVERY = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def _stack_dump(text: str) -> str:
    thread = threading.Thread(target=(ended := threading.Event()).wait, name=text)
    name = os.fsdecode(text[:5000].encode("utf-8", "surrogatepass").replace(b"\0", b"0"))
    code = compile("def f(wait):\n    wait()\n", name, "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    inside = threading.Thread(target=space["f"], args=(ended.wait,))
    thread.start()
    inside.start()
    try:
        return stacks.dump(text, {thread.ident or 0: text}, (), [stacks.Section(text, [])])
    finally:
        ended.set()
        thread.join()
        inside.join()


def _through_channel(text: str) -> str:
    ours, theirs = pair()
    theirs.send(Stacks(1, text))
    received: list[object] = []
    while not received:
        received += ours.receive()
        theirs.flush()
    ours.close()
    theirs.close()
    (message,) = received
    assert isinstance(message, Stacks)
    return message.text


def _launched(text: str) -> str:
    reading, writing = os.pipe()
    Launch(writing).report(Verdict(70, text))
    verdict = await_verdict(reading, 5)
    os.close(reading)
    assert verdict.code == 70
    return verdict.text


def _notified(text: str) -> str:
    address = f"\0jobd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address)
        line.settimeout(5)
        Notifier(f"@{address[1:]}").ready(text)
        ready, status, _ = line.recv(65536).decode().split("\n")
    assert ready == "READY=1"
    return status


VALID: dict[str, Callable[[str], str]] = {
    "channel": _through_channel,
    "launch": _launched,
    "json": lambda text: str(json.loads(encode({"a": text}, 10_000))["a"]),
    "message": lambda text: exceptions.message_of(OSError(text)),
    "class": lambda text: exceptions.class_of(
        type(
            text.replace("\0", "")[:100_000].encode("ascii", "ignore").decode() or "x",
            (OSError,),
            {},
        )()
    ),
    "traceback": lambda text: tracebacks.formatted(OSError(text), 65_536),
}
HARMLESS: dict[str, Callable[[str], str]] = {
    "stacks": _stack_dump,
    "notify": _notified,
    "paragraph": paragraph,
    "shown": shown,
    "status": lambda text: "".join(display._since(*harmless(("running", text[:10_000], None)))),
    "json log": lambda text: Json("w", -1)("error", _event(text)).decode().rstrip("\n"),
    "console log": lambda text: Console("w", -1)("error", _event(text)).decode(),
    "json": lambda text: harmless_json(encode([text], 100_000)).decode(),
}


def _event(text: str) -> dict[str, Any]:
    return {
        "event": text,
        "logger": text,
        "stack": text,
        "nested": [{text: text}],
        text: text,
        "exc_info": OSError(text),
    }


@EVERY
@pytest.mark.parametrize("way", VALID)
def test_what_leaves_the_process_is_valid_and_bounded(way: str, text: str) -> None:
    out = VALID[way](text)
    out.encode()
    assert len(out) <= BACKLOG_BYTES


@EVERY
@pytest.mark.parametrize("way", HARMLESS)
def test_what_people_read_is_harmless(way: str, text: str) -> None:
    out = HARMLESS[way](text)
    assert not HARMFUL.search(out), ascii(HARMFUL.findall(out)[:3])
    assert not re.search(r"^2026-01-01", out, re.MULTILINE)


@EVERY
def test_the_state_file_can_be_read_back(tmp_path: Path, text: str) -> None:
    child = statefile.ChildRecord(
        slot=0, pid=1, ticks=1, identity=text, generation=1, state="ready", reason=text
    )
    statefile.save(tmp_path / "s", a_state(workers=(child,), logfile=text))
    found = statefile.load(tmp_path / "s")
    assert found is not None
    assert found.workers[0].pid == 1


def test_a_setting_that_is_no_text_is_refused() -> None:
    for name in ("JOBD_TAG", "JOBD_REDIS", "JOBD_LOGFILE", "JOBD_REQUIRE", "JOBD_QUEUE"):
        value = "redis://caf\udce9" if name == "JOBD_REDIS" else "caf\udce9"
        if name == "JOBD_QUEUE":
            name = "JOBD_QUEUES"
        with pytest.raises(Exception, match=name) as refused:
            load(None, {name: value}, {})
        assert refused.value.exit_code == 78  # type: ignore[attr-defined]
        str(refused.value).encode()


class Broken:
    """Raises at every touch."""

    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        self._error = error

    def _raise(self, *_args: object) -> Any:
        raise self._error("no")

    __str__ = __repr__ = __format__ = __bool__ = __hash__ = __eq__ = __len__ = __iter__ = _raise
    __getitem__ = __mod__ = __rmod__ = __int__ = __index__ = __float__ = _raise


class BrokenText(str):
    __str__ = __repr__ = __format__ = __len__ = Broken._raise
    _error = RuntimeError


class BrokenError(Exception):
    __str__ = __repr__ = Broken._raise
    _error = SystemExit
    __notes__ = Broken()  # type: ignore[assignment]


def _changing() -> dict[Any, Any]:
    class Adds:
        def __repr__(self) -> str:
            changing[len(changing)] = "new"
            return "added"

    changing: dict[Any, Any] = {"a": Adds(), "b": Adds()}
    return changing


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    return value


def _circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value, {"again": value}]
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "broken": Broken,
    "exits": lambda: Broken(SystemExit),
    "interrupts": lambda: Broken(KeyboardInterrupt),
    "text": lambda: BrokenText("x"),
    "error": BrokenError,
    "changing": _changing,
    "deep": _deep,
    "circle": _circle,
    "keys": lambda: {1: 2, None: 3, (1, 2): 4, b"x": 5, "\udce9": 6},
    "huge": lambda: "x" * 2_000_000,
    "huge bytes": lambda: b"\xff" * 2_000_000,
    "huge list": lambda: list(range(100_000)),
    "huge dict": lambda: {str(number): number for number in range(30_000)},
    "huge number": lambda: 1 << 10_000_000,
    "in a list": lambda: [Broken(), {"a": Broken()}, {Path("x")}],
}


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    logfile = LogFile.open(str(tmp_path / "log"))
    log.configure(logfile, "info", request.param, "worker.0")
    shop = logging.getLogger("shop")
    # Not through the root, where pytest has handlers that do raise.
    shop.propagate = False
    shop.handlers[:] = [log._Handler()]

    def read() -> list[str]:
        text = (tmp_path / "log").read_text(encoding="utf-8")
        records = text.rstrip("\n").split("\n")
        if request.param == "json":
            for record in records:
                json.loads(record)
            return records
        return re.split(r"\n(?! {4})", text.rstrip("\n"))

    yield read
    shop.propagate = True
    shop.handlers.clear()
    log.configure(LogFile.open(""), "info", "console", "test")
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    os.close(logfile.fd)


def _tuple(value: Any) -> Any:
    return (1, value, value)


def _odd(value: Any) -> Any:
    return {5: value, None: 1}


CALLS: dict[str, Callable[[Any], object]] = {
    "message": lambda value: logging.getLogger("shop").warning(value),
    "argument": lambda value: logging.getLogger("shop").warning("%s", value),
    "number": lambda value: logging.getLogger("shop").warning("%d and %r", value),
    "too many": lambda value: logging.getLogger("shop").warning("x", value, value),
    "extra": lambda value: logging.getLogger("shop").warning(
        "x", extra={"a": value, "level": value}
    ),
    "extra name": lambda value: logging.getLogger("shop").warning("x", extra=_odd(value)),
    "exc_info": lambda value: logging.getLogger("shop").warning("x", exc_info=_tuple(value)),
    "stack_info": lambda value: logging.getLogger("shop").warning("%s", value, stack_info=True),
    "event": lambda value: structlog.get_logger().info(value),
    "field": lambda value: structlog.get_logger().info("x", value=value, logger=value, stack=value),
    "names": lambda value: structlog.get_logger().info("x", event=value, method_name=value),
    "arguments": lambda value: structlog.get_logger().info("%d %s", value),
    "mapping": lambda value: structlog.get_logger().info("%(no)s", {"a": value}),
    "bound": lambda value: structlog.get_logger().bind(value=value, event=value).error("x"),
    "structlog exc_info": lambda value: structlog.get_logger().error("x", exc_info=value),
    "exception": lambda value: structlog.get_logger().exception("x", value=value),
    "level": lambda value: structlog.get_logger().log(37, "x", value=value),
    "odd level": lambda value: structlog.get_logger().log(value, "x"),
    "async": lambda value: asyncio.run(structlog.get_logger().ainfo("%d", value, value=value)),
    "own processors": lambda value: structlog.wrap_logger(
        log._sink, processors=[lambda _l, _m, event: ((event,), {"value": value})]
    ).info("x"),
}


def _without_the_handlers_of_pytest() -> None:
    """They raise where ours do not, and come with each phase of a test, to every logger."""
    for logger in (logging.getLogger(), logging.getLogger("shop")):
        logger.handlers[:] = [one for one in logger.handlers if isinstance(one, log._Handler)]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("call", CALLS)
def test_no_call_that_logs_raises(
    lines: Callable[[], list[str]], call: str, value: Callable[[], Any]
) -> None:
    _without_the_handlers_of_pytest()
    try:
        CALLS[call](value())
        raised = ""
    except BaseException as error:  # noqa: BLE001 - said in words: pytest shows no such objects
        at = traceback.extract_tb(error.__traceback__)[-3:]
        raised = f"{type(error).__name__} {[(one.filename, one.lineno) for one in at]}"
    assert not raised
    (size,) = map(len, lines())
    assert size < 2_000_000


@pytest.mark.parametrize("interruption", interrupts._RANKS)
def test_what_interrupts_a_job_from_outside_goes_through(
    lines: Callable[[], list[str]], interruption: type[BaseException]
) -> None:
    for call in ("message", "argument", "event", "field"):
        _without_the_handlers_of_pytest()
        with pytest.raises(interruption):
            CALLS[call](Broken(interruption))


def test_what_is_cut_says_how_long_it_was(lines: Callable[[], list[str]]) -> None:
    logging.getLogger("shop").error("x" * 30_000_000, extra={"blob": b"y" * 1_000_000})
    try:
        raise ValueError("z" * 2_000_000)
    except ValueError:
        logging.getLogger("shop").exception("failed")
    first, second = lines()
    assert "30,000,000 characters in all" in first
    assert "1,000,000 bytes in all" in first
    assert "2,000,012 characters in all" in second
    assert "test_printable.py" in second
    assert max(len(first), len(second)) < 300_000


def test_an_exception_with_very_many_others_is_shown_by_its_last() -> None:
    error: Exception | None = None
    for number in range(3000):
        try:
            raise ValueError(str(number)) from error
        except ValueError as caught:
            error = caught
    assert error is not None
    text = tracebacks.formatted(error, 65_536)
    assert text.endswith("ValueError: 2999")
    assert len(text) < 10_000
    group = ExceptionGroup("many", [ValueError("y" * 1000) for _ in range(5000)])
    text = tracebacks.formatted(group, 65_536)
    assert "and 4,990 more" in text
    assert len(text) < 65_536


@pytest.mark.parametrize("most", range(1, 60))
def test_a_cut_leaves_no_part_of_a_password(most: int) -> None:
    for before in ("", "at ", "x" * 20 + " "):
        text = f"{before}redis://app:geh@im/is?t#x@db:6379/0 and so on"
        kept = mask(cut(text, most))
        assert not re.search("geh|im|is\\?|#x", kept.replace(" in all", "")), kept
    nested = repr({"url": "redis://:geheim@db"})
    assert "geheim" not in mask(cut(nested, most))
    assert "geh" not in mask(cut(nested, most)), most


def test_an_object_without_text_is_named() -> None:
    assert text_of(Broken()) == "<Broken whose str() raises RuntimeError>"
    error = loading._reason("shop", "shop", Path("/srv"), BrokenError())
    assert "BrokenError whose str() raises SystemExit" in error


def test_a_line_of_another_width_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from jobd.text.printable import any_text_prints

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    any_text_prints()
    print("caf\udce9 … é")
    stream.flush()
