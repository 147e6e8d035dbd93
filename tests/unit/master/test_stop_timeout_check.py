"""How long systemd lets a stop take: what is asked, and that nothing comes of a bad answer."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobd.master.health import stop_timeout_check
from jobd.master.health.stop_timeout_check import Unit, seconds, service
from jobd.settings.daemon import Config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", 45.0),
        ("1min 30s", 90.0),
        ("1.500s", 1.5),
        ("500ms", 0.5),
        ("1d 2h 3min 4s 5ms 6us", 93784.005006),
        ("1month", 2629800.0),
        ("infinity", float("inf")),
    ],
)
def test_time_spans_of_systemd(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "0", "45", "5 parsec", "s", "1min x", "1..5s", "[not set]"])
def test_what_is_no_time_span(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("0::/system.slice/jobd.service\n", Unit("jobd.service", False)),
        (
            "4:memory:/x.service\n1:name=systemd:/system.slice/jobd.service\n0::/\n",
            Unit("jobd.service", False),
        ),
        (
            "0::/system.slice/system-jobd.slice/jobd@mail.service\n",
            Unit("jobd@mail.service", False),
        ),
        (
            "0::/user.slice/user-7.slice/user@7.service/app.slice/jobd.service\n",
            Unit("jobd.service", True),
        ),
        # A desktop's terminal, a login, a container, a kernel without cgroups.
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/terminal.scope\n", None),
        ("0::/user.slice/user-7.slice/session-1.scope\n", None),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_the_service_of_a_process(cgroup: str, expected: Unit | None) -> None:
    assert service(cgroup) == expected


class Said:
    """Takes the place of the logger."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.records.append((level, event, fields))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    """We are a service of systemd, by all that can be seen."""
    log = Said()
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("0::/system.slice/shop.service\n")
    monkeypatch.setattr(stop_timeout_check, "logger", log)
    monkeypatch.setattr(stop_timeout_check, "_CGROUP", cgroup)
    monkeypatch.setenv("INVOCATION_ID", "f00")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return log


def systemctl(directory: Path, script: str) -> None:
    """What systemctl does from now on; its arguments are in a file."""
    program = directory / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {directory}/asked\n{script}\n')
    program.chmod(0o755)


SHORT = "echo LoadState=loaded; echo TimeoutStopUSec=5s"


@pytest.mark.parametrize(
    ("extends", "effect"),
    [(True, "will ask systemd for more time"), (False, "systemd will then kill")],
)
def test_the_warning_has_both_figures_and_says_what_to_do(
    said: Said, tmp_path: Path, extends: bool, effect: str
) -> None:
    systemctl(tmp_path, SHORT)
    stop_timeout_check.warn_of_short_stop(Config(timeout=20.0), extends=extends)
    ((level, event, fields),) = said.records
    assert (level, event) == ("warning", "stop_timeout_of_unit_too_short")
    assert (fields["unit"], fields["unit_allows"]) == ("shop.service", 5.0)
    assert fields["stop_takes_up_to"] == 42.0
    assert effect in fields["advice"]
    assert "set TimeoutStopSec=42 or more in the unit, or a smaller timeout" in fields["advice"]


@pytest.mark.parametrize("answer", ["30s", "infinity"])
def test_a_unit_that_waits_long_enough_needs_no_warning(
    said: Said, tmp_path: Path, answer: str
) -> None:
    systemctl(tmp_path, SHORT.replace("5s", answer))
    stop_timeout_check.warn_of_short_stop(Config(timeout=8.0), extends=False)
    assert said.records == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo Failed to connect to bus >&2; exit 1", "Failed to connect to bus"),
        ("echo LoadState=not-found; echo TimeoutStopUSec=5s", "systemd does not know shop.service"),
        ("echo LoadState=loaded", "'' is not a time span"),
        ("printf '\\377\\377'", "codec can't decode"),
        ("exec 2>&-; kill -9 $$", ""),
    ],
)
def test_without_an_answer_there_is_no_warning(
    said: Said, tmp_path: Path, script: str, reason: str
) -> None:
    systemctl(tmp_path, script)
    stop_timeout_check.warn_of_short_stop(Config(), extends=False)
    ((level, event, fields),) = said.records
    assert (level, event, fields["unit"]) == ("debug", "unit_unknown", "shop.service")
    assert reason in fields["reason"]


def test_without_systemctl_there_is_no_warning(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    stop_timeout_check.warn_of_short_stop(Config(), extends=False)
    assert [record[:2] for record in said.records] == [("debug", "unit_unknown")]


def test_a_systemctl_that_hangs_is_not_waited_for_and_leaves_nothing(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_timeout_check, "ASK", 0.3)
    systemctl(tmp_path, "exec sleep 60")
    began = time.monotonic()
    stop_timeout_check.warn_of_short_stop(Config(), extends=False)
    assert time.monotonic() - began < 5
    assert [record[:2] for record in said.records] == [("debug", "unit_unknown")]
    assert not [p for p in psutil.Process().children() if "sleep" in p.name()]


def test_the_systemd_of_a_user_is_asked_for_the_users_units(said: Said, tmp_path: Path) -> None:
    systemctl(tmp_path, SHORT)
    (tmp_path / "cgroup").write_text("0::/user.slice/user@7.service/app.slice/shop.service\n")
    stop_timeout_check.warn_of_short_stop(Config(), extends=False)
    assert len(said.records) == 1
    assert (tmp_path / "asked").read_text().startswith("--user show ")


def test_nobody_is_asked_outside_of_systemd(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl(tmp_path, SHORT)
    monkeypatch.delenv("INVOCATION_ID")
    stop_timeout_check.warn_of_short_stop(Config(), extends=False)
    monkeypatch.setenv("INVOCATION_ID", "f00")
    (tmp_path / "cgroup").write_text("0::/user.slice/user-7.slice/session-1.scope\n")
    stop_timeout_check.warn_of_short_stop(Config(), extends=False)
    assert said.records == []
    assert not (tmp_path / "asked").exists()
