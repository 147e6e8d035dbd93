"""``jobd new``: what it writes passes its own tests, and runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.support.daemon import environment, wait

INSTALL = "pip install -r requirements.txt"


def run(*words: str, at: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=at,
        env=environment(variables),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    done = run("-m", "jobd", "new", "my-shop", at=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"next: cd my-shop; {INSTALL}; pytest; jobd dev\n")
    return tmp_path / "my-shop"


def test_it_passes_its_own_tests(shop: Path) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", at=shop)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_it_runs(shop: Path, server: EmbeddedServer, redis: redis_py.Redis) -> None:
    """As its README says: the daemon in one terminal, a push in another."""
    log = shop / "log"
    with log.open("wb") as output:
        dev = subprocess.Popen(
            [sys.executable, "-m", "jobd", "dev", "--no-dashboard"],
            cwd=shop,
            env=environment({"JOBD_REDIS": server.url}),
            stdout=output,
            stderr=output,
        )
    try:
        wait(lambda: "jobd dev  ready" in log.read_text(), 60, "it is ready")
        assert run("my_shop.py", at=shop, JOBD_REDIS=server.url).returncode == 0
        wait(lambda: "welcome, user 42!" in log.read_text(), 30, "the job has run")
    finally:
        dev.terminate()
        assert dev.wait(40) == 0


def test_its_files_are_right(shop: Path) -> None:
    assert sorted(path.name for path in shop.iterdir()) == [
        *("README.md", "jobd.toml", "my-shop.service", "my_shop.py", "requirements.txt"),
        "test_my_shop.py",
    ]
    assert not [path for path in shop.iterdir() if "$" in path.read_text()]
    ruff = run("-m", "ruff", "check", "--isolated", ".", at=shop)
    assert ruff.returncode == 0, ruff.stdout
    layout = run("-m", "ruff", "format", "--isolated", "--check", ".", at=shop)
    assert layout.returncode == 0, layout.stdout


def test_systemd_takes_its_unit(shop: Path, tmp_path: Path) -> None:
    if not (verify := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    unit = shop / "my-shop.service"
    text = unit.read_text().replace("User=my-shop\n", "")
    for program in ("jobd", "jobctl"):
        text = text.replace(f"/srv/my-shop/.venv/bin/{program}", "/bin/true")
    unit.write_text(text)
    done = subprocess.run(
        [verify, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert "my-shop.service" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Shop", "Shop cannot be the name of a module: use up to 50 lower-case letters"),
        ("9shop", "with a letter first, such as shop\n"),
        ("a b", "such as a_b\n"),
        ("shöp", "such as sh_p\n"),
        ("n" * 51, "cannot be the name of a module"),
        ("class", "class is a word of Python: choose another name, such as my_class\n"),
        ("queue", "there is a module queue already, which yours would hide"),
        ("jobd", "there is a module jobd already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, said: str) -> None:
    done = run("-m", "jobd", "new", name, at=tmp_path)
    assert done.returncode == 78
    assert done.stderr.startswith("jobd: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    mine = tmp_path / "shop/shop.py"
    mine.write_text("mine")
    done = run("-m", "jobd", "new", "shop", at=tmp_path)
    assert (done.returncode, done.stderr) == (78, "jobd: shop is not empty; name a new directory\n")
    assert [*(tmp_path / "shop").iterdir()] == [mine]
    (tmp_path / "file").write_text("")
    done = run("-m", "jobd", "new", "file", at=tmp_path)
    assert (done.returncode, done.stderr) == (78, "jobd: file cannot be created: File exists\n")


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    assert run("-m", "jobd", "new", "shop", at=tmp_path).returncode == 0
    assert run("-m", "jobd", "check", at=tmp_path / "shop").stderr.count("Traceback") == 0
