"""Names of log events are identifiers, so that a person can search and a program can match them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jobd

_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_LOGGERS = {"logger", "log", "_log"}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ROOT = Path(jobd.__file__).parent

_IN_APPLICATIONS = ("web", "features", "contrib", "jobs/refusals.py")


def _events() -> Iterator[tuple[str, str]]:
    for file in _ROOT.rglob("*.py"):
        if any(file.is_relative_to(_ROOT / place) for place in _IN_APPLICATIONS):
            continue  # runs in an application, and logs in sentences as that does
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            target = node.func.value
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if node.func.attr in _LEVELS and name in _LOGGERS:
                event = node.args[0]
                text = event.value if isinstance(event, ast.Constant) else ast.unparse(event)
                yield f"{file.relative_to(_ROOT)}:{node.lineno}", str(text)


def test_every_event_has_a_name_in_snake_case() -> None:
    events = list(_events())
    assert len(events) > 50
    assert [(place, event) for place, event in events if not _NAME.fullmatch(event)] == []
