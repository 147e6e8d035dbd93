"""The wheel and the sdist: they install without a compiler, work, and their types are seen."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(*words: str, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=at, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of what is under version control, as in a fresh clone."""
    clone, built = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("sdist")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((ROOT / name).read_bytes())
    # Without isolation: nothing is fetched.
    done = python("-m", "build", "--sdist", "--no-isolation", "-o", str(built), at=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = built.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the sdist alone."""
    opened, built = tmp_path_factory.mktemp("opened"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(opened, filter="data")
    [source] = opened.iterdir()
    done = python("-m", "build", "--wheel", "--no-isolation", "-o", str(built), at=source)
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = built.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, in which the other packages are those of this one."""
    directory = tmp_path_factory.mktemp("venv")
    venv.create(directory, symlinks=True)
    [packages] = directory.glob("lib/python*/site-packages")
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index"]
    done = python(*pip, "--no-deps", f"--target={packages}", str(wheel), at=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    # As a path entry and not as a .pth: an editable jobd there must not come in.
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(f"import sys; sys.path.append({others!r})\n")
    return directory


def test_no_part_is_compiled_for_a_machine(wheel: Path) -> None:
    assert wheel.name.startswith("pyjobd-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_what_is_not_python_is_there_too(wheel: Path) -> None:
    """Scripts, pages, texts, types: all that is under version control in the packages."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "jobd", "jobctl"],
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {name for name in listed.stdout.splitlines() if not name.endswith(".po")}
    there = set(zipfile.ZipFile(wheel).namelist())
    assert wanted - there == set()
    assert {"jobd/py.typed", "jobctl/py.typed", "jobd_pytest.py"} <= there
    assert not [name for name in there if name.startswith(("tests/", "benchmarks/", "docs/"))]


def test_the_license_comes_along(wheel: Path, sdist: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.rpartition("/")[2] == "LICENSE" for name in names)
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.getnames())


@pytest.mark.parametrize("command", ["jobd", "jobctl"])
def test_the_commands_work(installed: Path, command: str) -> None:
    [script] = installed.glob(f"lib/python*/site-packages/bin/{command}")
    both = f"import {command}, runpy; print({command}.__file__); runpy.run_path({str(script)!r}, "
    done = subprocess.run(
        [installed / "bin/python", "-c", f"{both} run_name='__main__')", "--version"],
        cwd=installed,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.splitlines()
    assert place.startswith(str(installed))
    assert version.startswith(f"{command} 0.")


def test_pytest_finds_its_plugin(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text("def test_it(jobs): assert not jobs.pushed()")
    # Autoloaded; that of another distribution which happens to be here is not wanted.
    flags = ["-q", "-p", "no:cacheprovider", "-p", "no:valkey", "-p", "no:celery"]
    done = subprocess.run(
        [installed / "bin/python", "-m", "pytest", *flags],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


USER = """\
from jobd import job


@job(queue="mail")
def welcome(user_id: int, *, loud: bool = False) -> None: ...


welcome.perform_async(7, loud=True)
reveal_type(welcome.perform_async(7))
welcome.perform_async("seven")
"""


def test_mypy_sees_its_types(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(USER)
    interpreter = f"--python-executable={installed}/bin/python"
    mypy = [sys.executable, "-m", "mypy", "--strict", interpreter, f"--cache-dir={tmp_path}/cache"]
    done = subprocess.run(
        [*mypy, "shop.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'shop.py:9: note: Revealed type is "str' in done.stdout, done.stdout + done.stderr
    assert "shop.py:10: error: Argument 1 " in done.stdout
    assert "Found 1 error in 1 file" in done.stdout
