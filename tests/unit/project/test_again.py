"""What fails among others is run again alone; only what passes then is forgiven, and by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

CONFTEST = """
import os
import pytest
from tests import again

def pytest_addoption(parser):
    parser.addoption("--again", action="store_true")

def pytest_configure(config):
    again.configure(config)

@pytest.fixture(autouse=True)
def attempt(request):
    "Which one this is."
    with open("attempts", "a+") as attempts:
        attempts.seek(0)
        number = attempts.read().split().count(request.node.name) + 1
        attempts.write(request.node.name + "\\n")
    return number

@pytest.fixture
def passes_before(attempt):
    assert attempt > 1

@pytest.fixture
def passes_after(attempt):
    yield
    assert attempt > 1
"""

UNSTEADY = """
import os

def test_call(attempt): assert attempt > 1
def test_setup(passes_before): pass
def test_teardown(passes_after): pass
def test_call_and_teardown(attempt, passes_after): assert attempt > 1
"""
UNSTEADY_NAMES = {
    f"suite/test_it.py::test_{name}" for name in ("call", "setup", "teardown", "call_and_teardown")
}

CRASH = """
def test_crash(attempt):
    if attempt == 1: os._exit(3)
"""

STEADY = """
def test_good(): pass
"""


class Project:
    """A small one of its own, with the plugin."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._suite = path / "suite"
        self._suite.mkdir()
        (self._suite / "__init__.py").touch()
        (self._suite / "conftest.py").write_text(CONFTEST)
        settings = "[pytest]\naddopts = -q -p xdist.plugin\ntestpaths = suite\n"
        (path / "pytest.ini").write_text(settings)

    def run(self, tests: str, *flags: str) -> tuple[int, list[str]]:
        """Its exit code, and the lines that it printed."""
        (self._suite / "test_it.py").write_text(tests)
        (self._path / "attempts").unlink(missing_ok=True)
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *flags],
            cwd=self._path,
            env={
                **{name: each for name, each in os.environ.items() if "PYTEST" not in name},
                "PYTHONPATH": str(ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # which are many and slow
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        print(result.stdout, result.stderr)
        return result.returncode, result.stdout.splitlines()

    def attempts(self) -> list[str]:
        return sorted((self._path / "attempts").read_text().split())

    def noted(self) -> dict[str, str]:
        found = json.loads((self._path / ".pytest_cache/v/jobd/unsteady").read_text())
        assert isinstance(found, dict)
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("flags", [(), ("-n", "1")])
def test_unsteady_tests_stop_no_one_and_are_named_last(
    project: Project, flags: tuple[str, ...]
) -> None:
    tests, names = UNSTEADY + STEADY, set(UNSTEADY_NAMES)
    if flags:
        tests, names = tests + CRASH, names | {"suite/test_it.py::test_crash"}
    code, lines = project.run(tests, "--again", *flags)
    assert code == 0
    closing = next(n for n, line in enumerate(lines) if " passed" in line and " in " in line)
    assert lines[closing].startswith(f"{len(names) + 1} passed, {len(names)} unsteady in ")
    assert {line.rpartition(" ")[2] for line in lines[closing + 1 : -1]} == names
    assert lines[-1].endswith(" .pytest_cache/v/jobd/unsteady")
    assert set(project.noted()) == names
    assert "assert 1 > 1" in project.noted()["suite/test_it.py::test_call"]

    code, lines = project.run(STEADY, "--again", *flags)
    assert code == 0
    assert lines[-1].startswith("1 passed in ")
    assert project.attempts() == ["test_good"]
    assert project.noted() == {}


@pytest.mark.parametrize("flags", [(), ("-n", "1")])
def test_what_fails_again_has_failed(project: Project, flags: tuple[str, ...]) -> None:
    tests = """
import pytest
def test_bad(attempt): assert attempt == 7
def test_skipped_then(attempt):
    if attempt > 1: pytest.skip()
    assert 0
def test_call(attempt): assert attempt > 1
"""
    code, lines = project.run(tests + STEADY, "--again", *flags)
    assert code == 1
    assert any(line.startswith("2 failed, 2 passed, 1 unsteady in ") for line in lines), (
        "each is counted once"
    )
    assert set(project.noted()) == {"suite/test_it.py::test_call"}
    assert "E   assert 2 == 7" in "".join(f"{line}\n" for line in lines), "the second is shown, too"


@pytest.mark.parametrize(
    ("tests", "flags", "exit_code", "remark"),
    [
        pytest.param(
            "import pytest\n@pytest.mark.parametrize('n', range(21))\n"
            "def test_many(n, attempt): assert attempt > 1",
            (),
            1,
            "21 tests failed, more than 20: none was run again",
            id="a broken tree",
        ),
        pytest.param("import missing", (), 2, "", id="collection"),
        pytest.param("import missing", ("-n", "1"), 1, "", id="collection, xdist"),
        pytest.param(UNSTEADY + CRASH, (), 3, "", id="the end of the process"),
        pytest.param(
            UNSTEADY + CRASH + STEADY,
            ("-n", "1", "--max-worker-restart", "0"),
            1,
            "1 tests did not run: none was run again",
            id="lost tests",
        ),
        pytest.param(
            UNSTEADY + "def test_z():\n    raise KeyboardInterrupt", (), 2, "", id="interrupted"
        ),
        pytest.param(
            UNSTEADY + "def test_z():\n    raise KeyboardInterrupt",
            ("-n", "1"),
            2,
            "",
            id="interrupted, xdist",
        ),
        pytest.param(UNSTEADY, ("-x",), 1, "", id="the first stops it"),
    ],
)
def test_nothing_else_is_run_again(
    project: Project, tests: str, flags: tuple[str, ...], exit_code: int, remark: str
) -> None:
    code, lines = project.run(tests, "--again", *flags)
    assert code == exit_code
    assert not remark or remark in lines
    assert not [line for line in lines if "unsteady" in line]
    attempts = project.attempts() if "attempt" in tests else []
    assert len(attempts) == len(set(attempts))


def test_only_where_it_is_asked_for(project: Project) -> None:
    code, lines = project.run(UNSTEADY)
    assert code == 1
    assert lines[-1].startswith("2 failed, 1 passed, 3 errors in ")
    assert len(project.attempts()) == len(UNSTEADY_NAMES)


def test_a_second_attempt_that_ends_the_process_is_no_success(project: Project) -> None:
    code, _ = project.run(
        "import os\ndef test_it(attempt):\n    if attempt > 1: os._exit(0 if attempt > 2 else 9)\n"
        "    assert 0",
        "--again",
    )
    assert code == 9


def test_what_measures_runs_alone_after_all_others(project: Project) -> None:
    tests = """
import os, pytest
@pytest.mark.alone
def test_alone(attempt):
    assert "PYTEST_XDIST_WORKER" not in os.environ
    assert open("attempts").read().split() == ["test_among", "test_alone"]
@pytest.mark.alone
def test_alone_again(attempt): assert attempt > 1
def test_among(attempt):
    assert "PYTEST_XDIST_WORKER" in os.environ
"""
    code, lines = project.run(tests, "-n", "1", "--again")
    assert code == 0
    assert [line for line in lines if line.startswith("3 passed, 1 unsteady in ")]
    assert set(project.noted()) == {"suite/test_it.py::test_alone_again"}
