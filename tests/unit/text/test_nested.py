"""JSON in Redis may be nested more deeply than any reader follows: what is not ours to believe is
refused, or passed over, and no page and no command ends with that."""

from __future__ import annotations

import ast
import base64
import zlib
from pathlib import Path

import pytest

from jobd.api.records import unpacked
from jobd.errors import PayloadError
from jobd.features.batches.record import status_of
from jobd.features.workflows.record import outcome_of, summary_of
from jobd.graphs.inputs import NOTHING
from jobd.schedules.entry import Entry
from jobd.store.ticks import changed, read_record

ROOT = Path(__file__).parents[3]
DEEP = b"[" * 100_000 + b"]" * 100_000
INVALID = b'{"name":"\xff","created_at":1.0}'
ENTRY = Entry(
    app="a", name="a", job="A", queue="q", grace=1.0, overlap="allow", payload={}, cron="* * * * *"
)
EXPECTING = ("UNREADABLE", "UNWRITABLE", "RecursionError")


def test_who_expects_bad_json_expects_one_that_is_nested_too_deeply() -> None:
    found = []
    for file in sorted(path for part in ("jobd", "jobctl") for path in (ROOT / part).rglob("*.py")):
        name, text = str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        if "json.decode(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Try) or "json.decode(" not in _source(node.body):
                continue
            caught = [ast.unparse(each.type) for each in node.handlers if each.type]
            if not any(one in each for one in EXPECTING for each in caught):
                found.append(f"{name}:{node.lineno} {caught}")
    assert found == []


def _source(body: list[ast.stmt]) -> str:
    return "\n".join(map(ast.unparse, body))


@pytest.mark.parametrize("raw", [DEEP, b'{"name":' + DEEP + b"}", INVALID, b"\xff"])
def test_what_is_no_record_is_passed_over(raw: bytes) -> None:
    status = status_of("00c0ffee00c0ffee", {b"total": b"1", b"tags": raw})
    assert status is not None
    assert status.tags == ()
    assert summary_of("ref", {b"about": raw, b"state": b"running"}) is None
    assert outcome_of(raw) == NOTHING
    assert read_record(raw) is None
    assert unpacked(base64.b64encode(zlib.compress(raw)).decode()) == []
    with pytest.raises(PayloadError, match="not a changed line"):
        changed(ENTRY, raw)
