"""One box for all tests of a test process, and a service in it for each test."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.support.daemon import wait
from tests.systemd.box import Box, CannotBoot

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A booted systemd."""
    try:
        made = Box(tmp_path_factory.mktemp("box"))
    except CannotBoot as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.fixture
def bus(box: Box) -> Iterator[None]:
    """D-Bus, as every usual system has it: by it users who are not root ask systemd."""
    started = box.run("systemctl", "start", "dbus.socket")
    if started.returncode:
        pytest.skip(f"no D-Bus here: {started.stderr}")
    yield
    box.run("systemctl", "stop", "dbus.socket", "dbus.service")


class Service:
    """A shipped unit in the box, with an application and settings of its own.

    *name* is the unit's without its suffix; *home* its StateDirectory, seen from outside.
    """

    def __init__(self, box: Box, server: EmbeddedServer, name: str = "jobd") -> None:
        self.box = box
        self.unit = f"{name}.service"
        instance = name.partition("@")[2]
        self._server = server
        self._config = box.path(f"/etc/jobd/{instance or 'jobd'}.toml")
        self.home = box.path(f"/var/lib/jobd/{instance}")
        shipped = "jobd@.service" if instance else self.unit
        box.path(f"/etc/systemd/system/{shipped}").write_text((UNITS / shipped).read_text())

    def write_app(self, source: str) -> None:
        """Write /srv/app/app.py, which the settings require."""
        self.box.path("/srv/app/app.py").write_text(textwrap.dedent(source))

    def configure(self, *lines: str, redis: str = "") -> None:
        """Write the settings, with *lines* of TOML of the test's own first."""
        own = [
            'require = ["app"]',
            'directory = "/srv/app"',
            f'redis = "{redis or self._server.tcp_url}"',
            'log_format = "json"',
        ]
        self._config.write_text("\n".join([*lines, *own]))

    def drop_in(self, *lines: str) -> None:
        """Change the unit, as an administrator would."""
        directory = self.box.path(f"/etc/systemd/system/{self.unit}.d")
        directory.mkdir(exist_ok=True)
        (directory / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str) -> None:
        """A command that must succeed."""
        done = self.box.run("systemctl", *words)
        assert done.returncode == 0, f"{words}: {done.stderr}\n{self.story()}"

    def start(self) -> None:
        self.systemctl("daemon-reload")
        self.systemctl("start", self.unit)

    def show(self, name: str) -> str:
        return self.box.show(self.unit, name)

    @property
    def main_pid(self) -> int:
        """The master's process id, as the box counts."""
        return int(self.show("MainPID"))

    def kill(self, signum: str, pid: int) -> None:
        self.box.run("kill", f"-{signum}", str(pid))

    def jobctl(self, *words: str) -> str:
        done = self.box.run("/opt/jobd/bin/jobctl", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def records(self, event: str) -> list[dict[str, Any]]:
        """What jobd has logged under that name since the box was booted."""
        lines = self.box.journal(self.unit).splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in found if record["event"] == event]

    def story(self) -> str:
        return self.box.journal(self.unit)[-5000:]

    def close(self) -> None:
        """Stop and forget it; nothing of it may run on."""
        self.box.run("systemctl", "stop", self.unit)
        self.box.run("systemctl", "reset-failed", self.unit)
        left = self.box.run("pgrep", "-u", "jobd").stdout
        places = "/etc/systemd/system/jobd* /var/lib/jobd/* /etc/jobd/* /run/jobd"
        self.box.run("sh", "-c", f"rm -rf {places}")
        self.box.run("systemctl", "daemon-reload")
        assert not left, f"processes of the unit are left\n{self.story()}"

    def wait_active(self, other_than: int) -> None:
        """Return when it runs again with another master."""

        def restarted() -> bool:
            return self.show("ActiveState") == "active" and self.main_pid not in (0, other_than)

        wait(restarted, 30, "it is running again")


@pytest.fixture
def service(box: Box, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Service]:
    """``jobd.service``, not started."""
    made = Service(box, server)
    made.configure()
    yield made
    made.close()
