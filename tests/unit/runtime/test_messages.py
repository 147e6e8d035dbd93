"""The messages between the master and its children: what is none, and what other versions say."""

from __future__ import annotations

from typing import get_args

import pytest

from jobd.runtime.ipc import messages
from jobd.runtime.ipc.channel import BACKLOG_BYTES, pair
from jobd.text.printable import encode


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "{}",
        '{"type":[]}',
        '{"type":null}',
        '{"type":"failed"}',
        '{"type":"booting","note":5}',
        '{"type":"failed","code":true,"permanent":true,"reason":""}',
        '{"type":"failed","code":1.5,"permanent":true,"reason":""}',
        '{"type":"reopened","error":[]}',
        '{"type":"dump","id":"1","text":""}',
        '{"type":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type":"later","deep":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type":"\\ud800"}',
    ],
)
def test_what_is_no_message_is_called_so(line: str) -> None:
    with pytest.raises(messages.Nonsense):
        messages.from_child(bytearray(line.encode()))


def test_a_type_of_another_version_is_reported_and_a_field_more_is_passed_over() -> None:
    later = messages.from_child(bytearray(b'{"type":"later","note":5}'))
    assert (later, messages.type_of(later)) == (messages.Unknown("later"), "later")
    more = messages.from_child(bytearray(b'{"since":5,"type":"booting","note":"Redis"}'))
    assert more == messages.Booting("Redis")
    # What the other side says is none of this one.
    assert messages.from_master(bytearray(b'{"type":"ready"}')) == messages.Unknown("ready")


def test_each_type_has_its_name() -> None:
    for side in (messages.FromChild, messages.FromMaster):
        kinds = get_args(side)
        assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("text", ["x" * 3 * BACKLOG_BYTES, "no caf\udce9.csv" * 100])
def test_any_text_arrives_as_a_message_of_its_type(text: str) -> None:
    ours, theirs = pair()
    theirs.send(messages.Failed(70, permanent=True, reason=text))
    received: list[object] = []
    while not received:
        theirs.flush()
        received += ours.receive()
    (failed,) = received
    assert isinstance(failed, messages.Failed)
    assert (failed.code, failed.reason[:5]) == (70, text[:5])
    assert len(encode(failed)) <= BACKLOG_BYTES
    for end in (ours, theirs):
        end.close()
