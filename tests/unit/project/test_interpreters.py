"""What the other Pythons that are here say to the sources; `make test PYTHON=...` is the rest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests import interpreters

ROOT = Path(__file__).parents[3]
OWN = "{}.{}".format(*sys.version_info)
SOURCES = ("jobd", "jobctl", "examples", "benchmarks", "tests", "setup.py")


@pytest.mark.parametrize("version", interpreters.VERSIONS)
def test_the_sources_compile_without_a_warning(version: str, tmp_path: Path) -> None:
    if (python := interpreters.find(version)) is None:
        pytest.skip(f"no Python {version} here")
    done = subprocess.run(
        [
            *(python, "-W", "error", "-X", f"pycache_prefix={tmp_path}"),
            *("-m", "compileall", "-q", *SOURCES),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.rglob("*.pyc"))


def test_it_is_said_which_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    interpreters.main()
    tried, *others = capsys.readouterr().out.splitlines()
    assert tried.startswith(f"Python {OWN}.")
    assert [line.split()[2].rstrip(",") for line in others] == [
        version for version in interpreters.VERSIONS if version != OWN
    ]


def test_a_program_that_is_not_what_it_is_called_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    version = next(each for each in interpreters.VERSIONS if each != OWN)
    shim = tmp_path / f"python{version}"
    shim.write_text("#!/bin/sh\necho 'not chosen' >&2; exit 127\n")
    shim.chmod(0o755)
    assert interpreters.find(version) is None
    assert interpreters.find(OWN) == Path(sys.executable)
    kept = tmp_path / "versions" / "x" / "bin" / shim.name
    kept.parent.mkdir(parents=True)
    kept.write_text(f"#!/bin/sh\necho {version}\n")
    kept.chmod(0o755)
    assert interpreters.find(version) == kept


def make(*words: str) -> subprocess.CompletedProcess[str]:
    # Those of a `make test` around it come with the environment.
    around = ("MAKE", "PYTHON", "VENV", "DEPS")
    environment = {name: each for name, each in os.environ.items() if not name.startswith(around)}
    command = ["make", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_each_has_an_environment_of_its_own(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    told = make("-n", "lint", f"PYTHON={other}").stdout
    assert f"\n.venv-{platform.python_version()}/bin/mypy" in told
    assert "\n.venv/bin/mypy" in make("-n", "lint").stdout
    assert "\n.venv-lowest/bin/pytest" in make("-n", "test", "DEPS=lowest").stdout


def test_other_versions_than_the_lowest_have_no_name() -> None:
    told = make("-n", "test", "DEPS=oldest")
    assert told.returncode == 2
    assert "use DEPS=lowest" in told.stderr


def test_what_does_not_run_is_refused_by_name(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho of another system >&2; exit 127\n")
    python.chmod(0o755)
    refused = make("lint", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert refused.returncode == 2
    assert f"of another system\nPYTHON={python} does not run" in refused.stderr
    assert not (tmp_path / "venv").exists()
