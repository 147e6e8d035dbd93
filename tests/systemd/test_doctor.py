"""``jobctl doctor`` beside a unit that systemd really runs."""

from __future__ import annotations

import json

from tests.systemd.conftest import Service
from tests.systemd.test_service import APP


def unit_findings(service: Service) -> dict[str, str]:
    done = service.box.run("/opt/jobd/bin/jobctl", "doctor", "--seconds", "0", "--json")
    found = json.loads(done.stdout)["findings"]
    return {one["name"]: one["text"] for one in found if one["name"].startswith(("unit", "daemon"))}


def test_the_shipped_unit_is_as_it_should_be(service: Service) -> None:
    service.write_app(APP)
    service.start()
    service.systemctl("enable", service.unit)
    # Without -C it does not know which Redis is that of the daemon.
    assert set(unit_findings(service)) == {"daemon.redis"}
    service.systemctl("disable", service.unit)
    assert "will not run after a restart" in unit_findings(service)["unit.enabled"]


def test_a_unit_that_was_changed_for_the_worse(service: Service) -> None:
    service.write_app(APP)
    service.drop_in(
        *("KillMode=control-group", "Restart=no", "TimeoutStopSec=20", "OOMPolicy=stop"),
        "TasksMax=40",
    )
    service.configure("workers = 2", "concurrency = 10")
    service.start()
    found = unit_findings(service)
    assert set(found) == {
        "daemon.redis",
        *("unit.kill-mode", "unit.restart", "unit.stop", "unit.memory", "unit.tasks"),
        "unit.enabled",
    }
    assert "may take 20 s to stop" in found["unit.stop"]
    assert "may have 40 threads" in found["unit.tasks"]
