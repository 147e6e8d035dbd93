"""The service units, as systemd itself reads them (its tools work where it is not running)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
WORST = "15"
"""Exposure, in tenths, that the hardening may leave; without it the units have 92."""

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["jobd.service", "jobd@.service"])
def test_the_unit_has_no_mistake_and_is_hardened(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name.replace("@", "@one")
    # The program of the unit is not installed here; whether it is there is looked at, too.
    unit.write_text(re.sub(r"/opt/jobd/bin/\w+", sys.executable, (UNITS / name).read_text()))
    checked = analyze("verify", "--recursive-errors=no", str(unit))
    assert (checked.returncode, checked.stderr) == (0, "")
    if analyze("security", "--help").stdout.count("--offline"):
        rated = analyze("security", "--offline=yes", f"--threshold={WORST}", str(unit))
        assert rated.returncode == 0, rated.stdout[-300:]


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
