"""The dashboard's unit under a real systemd."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx2
import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.systemd.box import Box
from tests.systemd.conftest import Service


@pytest.fixture
def dashboard(box: Box, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Service]:
    """``jobd-web.service``, not started."""
    made = Service(box, server, "jobd-web")
    made.configure("web.port = 0")
    yield made
    made.close()


def test_the_hardened_unit_serves_and_ends_at_once(dashboard: Service) -> None:
    dashboard.start()
    found = re.fullmatch(r"serving (http://127\.0\.0\.1:\d+/)", dashboard.show("StatusText"))
    assert found
    page = httpx2.get(found[1], timeout=20)
    assert page.status_code == 200
    assert "local · admin" in page.text
    assert httpx2.get(found[1] + "readyz", timeout=20).status_code == 200
    status = dashboard.box.run("cat", f"/proc/{dashboard.main_pid}/status").stdout
    assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s0+$", status, re.MULTILINE)
    with httpx2.stream("GET", found[1] + "live", timeout=20) as stream:
        assert next(stream.iter_lines()) == "retry: 3000"
        began = time.monotonic()
        dashboard.systemctl("stop", dashboard.unit)
        assert time.monotonic() - began < 5
    assert dashboard.show("Result") == "success"


def test_settings_that_let_strangers_in_are_not_tried_again(dashboard: Service) -> None:
    dashboard.configure("web.port = 0", 'web.bind = "0.0.0.0"')
    dashboard.systemctl("daemon-reload")
    assert dashboard.box.run("systemctl", "start", dashboard.unit).returncode != 0
    assert dashboard.show("ExecMainStatus") == "78"
    assert dashboard.show("NRestarts") == "0"
    assert "without users the dashboard listens on a loopback address only" in dashboard.story()
