"""The pidfile that jobctl goes by, also where the configuration has a mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobctl.daemon.lookup import _alike, pidfile
from jobd.errors import ConfigError
from jobd.settings.daemon import DEFAULT_PIDFILE, SETTINGS

BROKEN = 'queues = ["high"\n'  # not TOML
WRONG = "concurency = 5\n"  # no setting


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def find(text: str, **variables: str) -> tuple[Path, list[str]]:
    """What is found with a ./jobd.toml of *text*, and the warnings."""
    Path("jobd.toml").write_text(text, encoding="utf-8")
    warnings: list[str] = []
    return pidfile(None, None, variables, warnings.append), warnings


def test_the_flag_counts_before_everything(tmp_path: Path) -> None:
    assert pidfile("a.pid", "nowhere.toml", {}, pytest.fail) == Path("a.pid")


@pytest.mark.parametrize(
    ("text", "variables", "path"),
    [
        ("", {}, DEFAULT_PIDFILE),
        ('pidfile = "/run/a.pid"', {}, "/run/a.pid"),
        ('pidfile = "/run/a.pid"', {"JOBD_PIDFILE": "/run/b.pid"}, "/run/b.pid"),
    ],
)
def test_a_configuration_that_is_right(text: str, variables: dict[str, str], path: str) -> None:
    assert find(text, **variables) == (Path(path), [])


@pytest.mark.parametrize("mistake", [BROKEN, WRONG, "workers = 0\n"])
@pytest.mark.parametrize(
    ("text", "variables", "path"),
    [
        ("", {}, DEFAULT_PIDFILE),
        ('# pidfile = "/run/a.pid"\n', {}, DEFAULT_PIDFILE),
        ('pidfile = "/run/a.pid"  # here\n', {}, "/run/a.pid"),
        ("  pidfile='/run/a.pid'\n[environments.test]\n", {}, "/run/a.pid"),
        ('pidfile = "/run/a.pid"\n', {"JOBD_PIDFILE": "/run/b.pid"}, "/run/b.pid"),
        ('[environments.test]\npidfile = "/a.pid"\n', {"JOBD_PIDFILE": "/run/b.pid"}, "/run/b.pid"),
        ('pidfile = "run/a.pid"\ndirectory = "/srv/shop"\n', {}, "/srv/shop/run/a.pid"),
        ('pidfile = "a.pid"\n', {"JOBD_DIRECTORY": "/srv/shop"}, "/srv/shop/a.pid"),
    ],
)
def test_a_mistake_elsewhere_is_told_of(
    mistake: str, text: str, variables: dict[str, str], path: str
) -> None:
    # At the end of the file it would be in a section.
    found, (warning,) = find(mistake + text, **variables)
    assert found == Path(path)
    assert warning.startswith("jobd.toml")
    assert warning.endswith(f"using the pidfile {path} nevertheless (-P sets another)")


def test_without_a_directory_a_relative_path_is_one_from_here(tmp_path: Path) -> None:
    found, _ = find(BROKEN + 'pidfile = "a.pid"\n')
    assert found == tmp_path / "a.pid"


@pytest.mark.parametrize("mistake", [BROKEN, WRONG])
@pytest.mark.parametrize(
    "text",
    [
        'pidfil = "/run/a.pid"',
        'pid_file = "/run/a.pid"',
        'pidfile "/run/a.pid"',
        'pidfile = "/run/a.pid',
        "pidfile = 5",
        'pidfile = "/run/a.pid"\npidfile = "/run/b.pid"',
        '[environments.production]\npidfile = "/run/a.pid"',
        'environments.production.pidfile = "/run/a.pid"',
        'environments = { production = { pidfile = "/run/a.pid" } }',
        'pidfile = "a.pid"\ndirectry = "/srv/shop"',
        'pidfile = "a.pid"\n[environments.production]\ndirectory = "/srv/shop"',
        '+pidfile = "/run/a.pid"',
        '-pidfile = "/run/a.pid"',
        '\ufeffpidfil = "/run/a.pid"',
        'tag = """\npidfile = "/run/a.pid"\n"""',
        "tag = '''\npidfile = '/run/a.pid'\n'''",
    ],
)
def test_nothing_is_guessed(mistake: str, text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"the (pidfile|directory) in line|so the pidfile is unknown"
    ):
        find(mistake + text)


def test_a_mark_that_no_editor_shows_hides_no_pidfile() -> None:
    # It is a mistake in itself, and hid the line that follows it: that of another daemon was taken.
    with pytest.raises(ConfigError, match=r"not TOML.* the pidfile in line 1 is unclear"):
        find('\ufeffpidfile = "/run/a.pid"\n')


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_what_cannot_be_read_may_name_any_pidfile(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "shop.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="so the pidfile is unknown"):
        pidfile(None, "shop.toml", {}, pytest.fail)


def test_no_setting_is_taken_for_another_one() -> None:
    names = {one.name for one in SETTINGS}
    for wanted in ("pidfile", "directory"):
        assert {name for name in names if _alike(name, wanted)} == {wanted}
