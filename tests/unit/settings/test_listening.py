"""Addresses to listen on."""

from __future__ import annotations

import pytest

from jobd.settings import listening
from jobd.settings.listening import Address
from jobd.settings.load import load
from jobd.settings.schema import Invalid


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7433", Address("127.0.0.1", 7433)),
        ("[::1]:1", Address("::1", 1)),
        ("localhost:65535", Address("localhost", 65535)),
        ("/run/jobd/health.sock", Address(path="/run/jobd/health.sock")),
        ("unix:///run/jobd/health.sock", Address(path="/run/jobd/health.sock")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert listening.read(text) == address
    assert listening.read(str(address)) == address


NONE = """
7433 :7433 host host: host:0 host:65536 host:+1 host:² ::1:80 []:1 host:1e3 run/health.sock
unix://relative
"""


@pytest.mark.parametrize("text", [*NONE.split(), "/" + "x" * 107])
def test_what_is_none(text: str) -> None:
    with pytest.raises(Invalid):
        listening.read(text)


def test_the_setting_says_what_is_wrong() -> None:
    assert load(None, {}, {}).health == ""
    assert load(None, {"JOBD_HEALTH": "[::]:9"}, {}).health == "[::]:9"
    with pytest.raises(Exception, match=r'JOBD_HEALTH must be HOST:PORT, .* not "7433"'):
        load(None, {"JOBD_HEALTH": "7433"}, {})
