"""What the other Pythons that are here say to the sources; `make test PYTHON=...` is the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import interpreters

ROOT = Path(__file__).parents[2]
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
