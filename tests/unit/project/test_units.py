"""The service units, as systemd itself reads them (its tools work where it is not running)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "systemd"
DROP_INS = UNITS / "jobd.service.d"
WORST = 13
"""Exposure, in tenths, that the hardening may leave; without it the units have 92."""
WORST_LOCAL = 4
"""The same for the drop-in that leaves no network."""

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def understands(option: str) -> bool:
    return option in analyze("--help").stdout


def version() -> int:
    found = re.search(r"systemd (\d+)", analyze("--version").stdout)
    return int(found[1]) if found else 0


def install(name: str, directory: Path) -> Path:
    """The unit as it would be installed, but for its program, which is not here."""
    unit = directory / name.replace("@", "@one")
    # Whether the program is there is looked at, too.
    unit.write_text(re.sub(r"/opt/jobd/bin/\w+", sys.executable, (UNITS / name).read_text()))
    return unit


def drop_in(unit: Path, text: str) -> None:
    directory = unit.with_name(unit.name + ".d")
    directory.mkdir()
    (directory / "test.conf").write_text(text)


def assert_right(unit: Path, worst: int) -> None:
    """No mistake in it or its drop-ins, and not more exposed than *worst*."""
    options = ["--recursive-errors=no"] if understands("--recursive-errors") else []
    checked = analyze("verify", *options, str(unit))
    assert (checked.returncode, checked.stderr) == (0, "")
    if understands("--offline"):
        rated = analyze("security", "--offline=yes", f"--threshold={worst}", str(unit))
        assert rated.returncode == 0, rated.stdout[-300:]


@pytest.mark.parametrize("name", ["jobd.service", "jobd@.service", "jobd-web.service"])
def test_the_unit_has_no_mistake_and_is_hardened(name: str, tmp_path: Path) -> None:
    assert_right(install(name, tmp_path), WORST)


def test_without_network_hardly_anything_is_exposed(tmp_path: Path) -> None:
    unit = install("jobd.service", tmp_path)
    drop_in(unit, (DROP_INS / "local-redis.conf").read_text())
    assert_right(unit, WORST_LOCAL)


def test_what_newer_versions_can_do_is_off_and_right(tmp_path: Path) -> None:
    text = (DROP_INS / "newer-systemd.conf").read_text()
    settings = re.findall(r"^#(\w+)=", text, re.MULTILINE)
    assert settings == ["Type", "ExecReload", "RestartSteps", "RestartMaxDelaySec"]
    assert not re.search(r"^\w+=", text, re.MULTILINE)
    unit = install("jobd.service", tmp_path)
    drop_in(unit, re.sub(r"^#(?=\w+=)", "", text, flags=re.MULTILINE))
    if version() >= 254:
        assert_right(unit, WORST)


def test_the_template_has_the_same_lines_but_for_the_instances_name() -> None:
    one, many = (
        [line for line in (UNITS / name).read_text().splitlines() if "=" in line]
        for name in ("jobd.service", "jobd@.service")
    )
    differing = {line.partition("=")[0] for line in {*one} ^ {*many} if line[0] != "#"}
    assert differing == {
        *("Description", "ExecStart", "ExecReload"),
        *("RuntimeDirectory", "StateDirectory", "LogsDirectory"),
    }
