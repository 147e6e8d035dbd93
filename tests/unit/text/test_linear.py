"""Text of jobs, errors and clients may be of any length: what looks at it takes a time that grows
with its length, and not with the square of that.

A pattern of the source that is new is found and tried by itself.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobd.api import JobRecord
from jobd.api.search.glob import matcher
from jobd.api.search.groups import group_key, place
from jobd.master.children import laststacks
from jobd.runtime.log.format import Console, Json
from jobd.settings import redis_url
from jobd.settings.schema import read_queue
from jobd.text import exceptions, tracebacks
from jobd.text.masking import mask
from jobd.text.printable import cut, encode, harmless_json, paragraph, shown
from jobd.web.views import search, stacktext

ROOT = Path(__file__).parents[3]

HOSTILE = [
    "a",
    "://",
    "@",
    ":",
    "/",
    "(",
    "%",
    "1",
    " ",
    "\n",
    '"',
    "'",
    "?",
    "&",
    "-",
    ".",
    "_",
    "\\",
    "\x1b",
    "\u202e",
    "\udce9",
    "é",
    "redis://a:",
    "://a:b@",
    "://a:b@ ",
    "?password",
    "?password=",
    "sentinel://",
    "f-",
    "1-",
    ":1",
    ":1:in ",
    " (0x1",
    'class:"',
    "Thread 0x1\n",
    'File "x", line ',
    "\n  ",
    "1e1",
    "a,",
    "q=0.",
    ";",
]

BOUND = 64.0
"""Times as long for sixteen times as much; the square would be 256. Sixteen, so that what is cut
beyond a bound, which costs some more at once, does not pass for it."""

SIZES = (2_000, 8_000, 32_000, 128_000)
MEASURABLE = 0.001  # s


def used(call: Callable[[], object], enough: float = 0.0) -> float:
    """Seconds of this thread's own time, at best; once is enough where it takes less than that."""
    best = float("inf")
    for _ in range(3):
        began = time.thread_time()
        call()
        best = min(best, time.thread_time() - began)
        if best < enough:
            break
    return best


def assert_linear(call: Callable[[str], object], unit: str) -> None:
    """Fail where *call* takes a time that grows faster than a text that begins with many *unit*.
    Small sizes come first: what grows with the square is found before it takes long."""
    took: list[float] = []
    for size in SIZES:
        # Something behind it that fits to nothing, for a pattern to fail at in the end.
        text = unit * (size // len(unit)) + "\x00!"
        bound = BOUND * max(took[-2], MEASURABLE) if len(took) > 1 else 0.0
        took.append(used(lambda text=text: call(text), bound))  # type: ignore[misc]
        assert not bound or took[-1] < bound, (unit, size, took)


METHODS = {"search", "match", "fullmatch", "sub", "split", "findall", "finditer"}

# To parse the other files, which are most, would take each process of the tests some seconds.
_HAS_ONE = re.compile(rf"\.(compile|{'|'.join(METHODS)})\(")


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Our modules that may have a pattern or apply one."""
    for package in ("jobd", "jobctl"):
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if file.name == "__main__.py" or not _HAS_ONE.search(text):
                continue
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), ast.parse(text)


# Made while it runs, of a pattern of bounded length (see `matcher` below), or only in tests.
MADE_LATER = {"jobd.api.search.glob", "jobd.testing.memory.keys"}


def uses() -> Iterator[tuple[str, re.Pattern[Any], str]]:
    """Each pattern of the source, and how it is applied."""
    for name, tree in sources():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        calls = [call for call in calls if isinstance(call.func, ast.Attribute)]
        for call in calls:
            function = call.func
            assert isinstance(function, ast.Attribute)
            owner = function.value
            if not isinstance(owner, ast.Name):
                continue
            if owner.id == "re" and function.attr in METHODS:
                assert isinstance(call.args[0], ast.Constant), f"{name}:{call.lineno}"
                source: Any = call.args[0].value
                pattern: Any = re.compile(source)
                yield f"{name}:{call.lineno}", pattern, function.attr
            elif owner.id.isupper() and function.attr in METHODS:
                pattern = getattr(importlib.import_module(name), owner.id, None)
                if isinstance(pattern, re.Pattern):
                    yield f"{name}.{owner.id}", pattern, function.attr


USES = sorted({(where, method): pattern for where, pattern, method in uses()}.items(), key=str)


def test_every_pattern_of_the_source_is_tried() -> None:
    tried = {where.rpartition(".")[0] for (where, _), _ in USES}
    for name, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or name in MADE_LATER:
                continue
            if ast.unparse(node.func) == "re.compile":
                assert name in tried, f"{name}:{node.lineno}"
                at_top = any(
                    node in ast.walk(one) for one in tree.body if isinstance(one, ast.Assign)
                )
                assert at_top, f"{name}:{node.lineno} is no pattern of a module"


@pytest.mark.parametrize(
    ("pattern", "method"),
    [(pattern, method) for (_, method), pattern in USES],
    ids=[f"{where}-{method}" for (where, method), _ in USES],
)
def test_a_pattern_takes_a_time_that_grows_with_the_text(
    pattern: re.Pattern[Any], method: str
) -> None:
    def apply(text: str) -> object:
        given: Any = text.encode(errors="replace") if isinstance(pattern.pattern, bytes) else text
        if method == "sub":
            return pattern.sub(given[:0], given)
        if method == "finditer":
            return sum(1 for _ in pattern.finditer(given))
        return getattr(pattern, method)(given)

    for unit in HOSTILE:
        assert_linear(apply, unit)


def quietly(call: Callable[[str], object]) -> Callable[[str], object]:
    def caller(text: str) -> object:
        try:
            return call(text)
        except ValueError:
            return None

    return caller


def _logged(made: Json | Console) -> Callable[[str], object]:
    return lambda text: made(
        "info", {"event": text, "a": [text], text: 1, "exc_info": OSError(text)}
    )


def _error_called(name: str) -> BaseException:
    plain = name.replace("\0", "").encode("ascii", "replace").decode()
    made: type[OSError] = type(plain, (OSError,), {})
    return made()


def _record(**fields: str) -> JobRecord:
    return JobRecord(encode({"class": "A", "args": [], **fields}))


_everything = search.parse("class:a*b error:c some text#here")

SURFACES: dict[str, Callable[[str], object]] = {
    "mask": mask,
    "a Redis URL that is shown": redis_url.redact,
    "cut": lambda text: cut(text, len(text) - 1),
    "shown": shown,
    "paragraph": paragraph,
    "encode": lambda text: harmless_json(encode({"type": text})),
    "json log": _logged(Json("worker.0", -1)),
    "console log": _logged(Console("worker.0", -1)),
    "console log of all": _logged(Console("worker.0", -1, 1 << 24)),
    "traceback": lambda text: tracebacks.formatted(OSError(text), 1 << 24),
    "message_of": lambda text: exceptions.message_of(OSError(text)),
    "class_of": lambda text: exceptions.class_of(_error_called(text)),
    "place by message": lambda text: place(_record(error_message=text)),
    "group": lambda text: group_key(JobRecord(encode({"error_backtrace": [text, text]}))),
    "stacks of a dead worker": laststacks._last_dump,
    "stacks on a page": stacktext.parse,
    "a search": lambda text: search.parse(text),
    "found by a search": lambda text: _everything.where and _everything.where(_record(b=text)),
    "a pattern": lambda text: matcher("*a*[ab]?:*//*@")(text.encode(errors="replace")),
    "a queue": quietly(read_queue),
    "a Redis URL": quietly(redis_url.read),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_what_looks_at_foreign_text_takes_a_time_that_grows_with_it(surface: str) -> None:
    for unit in HOSTILE:
        assert_linear(SURFACES[surface], unit)
