"""Walking a path as root: what is followed, and who is said to be able to change it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobd.runtime.process import safe_path

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to judge")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory that only root can change, with one of somebody else in it."""
    (tmp_path / "real").mkdir()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    return tmp_path


def weak(path: Path) -> str:
    with safe_path.entry(path, follow=True) as place:
        return place.weak


def theirs_link(root: Path) -> Path:
    (root / "theirs/way").symlink_to(root / "real")
    return root / "theirs/way/file"


def roots_link_below_theirs(root: Path) -> Path:
    (root / "theirs/moved").mkdir()
    (root / "theirs/moved/way").symlink_to(root / "real")
    return root / "theirs/moved/way/file"


def their_link_in_roots(root: Path) -> Path:
    (root / "way").symlink_to(root / "real")
    os.chown(root / "way", NOBODY, NOBODY, follow_symlinks=False)
    return root / "way/file"


def link_in_a_sticky_directory(root: Path) -> Path:
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "tmp/way").symlink_to(root / "real")
    return root / "tmp/way/file"


def link_to_a_link(root: Path) -> Path:
    theirs_link(root)
    (root / "first").symlink_to("theirs/way")
    return root / "first/file"


def loop(root: Path) -> Path:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    return root / "a/file"


@pytest.mark.parametrize(
    "made",
    [
        theirs_link,
        roots_link_below_theirs,
        their_link_in_roots,
        link_in_a_sticky_directory,
        link_to_a_link,
        loop,
    ],
)
def test_links_that_others_could_have_made_are_not_followed(
    root: Path, made: Callable[[Path], Path]
) -> None:
    path = made(root)
    with pytest.raises(OSError, match="symbolic link") as refused, safe_path.entry(path):
        pass
    assert refused.value.errno == errno.ELOOP


def test_links_of_roots_are_followed_also_the_last_if_asked_to(root: Path) -> None:
    (root / "run").symlink_to("real")
    (root / "run/file").symlink_to(root / "run/target")
    with safe_path.entry(root / "run/file") as place:
        assert place.name == "file"
        assert os.path.samestat(os.fstat(place.directory), (root / "real").stat())
    with safe_path.entry(root / "run/file", follow=True) as place:
        assert (place.name, place.weak, place.shared) == ("target", "", False)
        os.close(place.open(os.O_WRONLY | os.O_CREAT, 0o600))
    assert (root / "real/target").exists()
    with safe_path.entry(Path("/"), follow=True) as place:
        assert place.name == "."


def test_a_link_that_is_put_there_after_the_walk_is_not_opened(root: Path) -> None:
    with safe_path.entry(root / "theirs/log", follow=True) as place:
        (root / "theirs/log").symlink_to(root / "real/precious")
        with pytest.raises(OSError, match="symbolic") as refused:
            place.open(os.O_WRONLY | os.O_CREAT, 0o600)
    assert refused.value.errno == errno.ELOOP
    assert not (root / "real/precious").exists()


def test_a_directory_that_is_exchanged_after_the_walk_is_out_of_the_way(root: Path) -> None:
    (root / "theirs/run").mkdir()
    with safe_path.entry(root / "theirs/run/file") as place:
        (root / "theirs/run").rename(root / "theirs/before")
        (root / "theirs/run").symlink_to(root / "real")
        os.close(place.open(os.O_WRONLY | os.O_CREAT, 0o600))
    assert (root / "theirs/before/file").exists()
    assert not (root / "real/file").exists()


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("real/file", ""),
        ("real/../real/file", ""),
        ("theirs/file", "theirs belongs to uid 65534"),
        ("theirs/../real/file", "theirs belongs to uid 65534"),
        ("theirs/of root/file", "theirs belongs to uid 65534"),
        ("group/file", "group 65534 may write to"),
        ("all/file", "everyone may write to"),
        ("sticky/file", ""),
    ],
)
def test_who_can_change_the_way(root: Path, way: str, text: str) -> None:
    (root / "theirs/of root").mkdir()
    for name, mode in {"group": 0o770, "all": 0o777, "sticky": 0o1777}.items():
        (root / name).mkdir()
        os.chown(root / name, 0, NOBODY)
        (root / name).chmod(mode)
    path = Path(f"{root}/{way}")
    assert text in weak(path)
    assert bool(text) == bool(weak(path))
    with safe_path.entry(path) as place:
        assert place.shared == (not way.startswith(("real", "theirs/..", "theirs/of")))


def test_no_descriptor_is_left(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    for path in (root / "real/file", theirs_link(root), root / "missing/file", loop(root)):
        try:
            with safe_path.entry(path):
                pass
        except OSError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names only


@pytest.mark.parametrize(
    ("way", "uids", "who"),
    [
        ("real/file", set(), ""),
        ("missing/../real/file", None, ""),
        ("theirs/file", {NOBODY}, ""),
        ("theirs/of root/file", {NOBODY}, ""),
        ("theirs/link/file", {NOBODY}, ""),
        ("their link/file", {NOBODY}, ""),
        ("link/file", set(), ""),
        ("link to theirs/file", {NOBODY}, ""),
        ("group/file", set(), "group 65534 may write to"),
        ("all/file", set(), "everyone may write to"),
        ("sticky/file", set(), ""),
        ("loop/file", None, ""),
    ],
)
def test_who_could_lead_root_elsewhere(
    root: Path, way: str, uids: set[int] | None, who: str
) -> None:
    (root / "theirs/of root").mkdir()
    (root / "theirs/link").symlink_to(root / "real")
    (root / "link").symlink_to("real")
    (root / "link to theirs").symlink_to(root / "theirs")
    (root / "their link").symlink_to(root / "real")
    os.chown(root / "their link", NOBODY, NOBODY, follow_symlinks=False)
    (root / "loop").symlink_to("loop")
    for name, mode in {"group": 0o770, "all": 0o777, "sticky": 0o1777}.items():
        (root / name).mkdir()
        os.chown(root / name, 0, NOBODY)
        (root / name).chmod(mode)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    if uids is None:
        with pytest.raises(OSError, match=r"symbolic links|No such file"):
            safe_path.masters(root / way)
    else:
        found, weak = safe_path.masters(root / way)
        assert (found, who in weak, bool(weak)) == (uids, True, bool(who))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names only
