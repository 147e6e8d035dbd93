"""The pidfile: one master per file, and no harm to what is not a pidfile."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jobd.errors import PidfileError
from jobd.master.files import pidfile
from jobd.master.files.pidfile import Pidfile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobd.pid"


def test_holds_exactly_the_pid_and_a_newline(path: Path) -> None:
    lock = Pidfile.lock(path)
    lock.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    lock.remove()
    assert not path.exists()


def test_a_second_lock_is_refused(path: Path) -> None:
    lock = Pidfile.lock(path)
    lock.write()
    with pytest.raises(PidfileError, match=f"pid {os.getpid()}"):
        Pidfile.lock(path)
    lock.remove()


def test_the_lock_is_free_once_every_descriptor_is_closed(path: Path) -> None:
    Pidfile.lock(path).close()
    Pidfile.lock(path).remove()


def test_a_stale_pid_is_reported_and_replaced(path: Path) -> None:
    path.write_text("4194303\n")
    lock = Pidfile.lock(path)
    assert lock.previous == 4194303
    lock.write()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.remove()


@pytest.mark.parametrize("content", ["hello", "0", "-1", "12 34", "1\n2\n", "9" * 1_000_000])
def test_a_file_that_is_no_pidfile_is_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(PidfileError, match="is not a pidfile"):
        Pidfile.lock(path)
    assert path.read_text() == content


def test_a_symbolic_link_is_refused_and_its_target_untouched(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("")
    path.symlink_to(target)
    with pytest.raises(PidfileError, match="symbolic link"):
        Pidfile.lock(path)
    assert target.read_text() == ""


def test_a_fifo_is_refused_without_hanging(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(PidfileError, match="not a regular file"):
        Pidfile.lock(path)


def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(PidfileError, match="directory"):
        Pidfile.lock(path)


def test_a_missing_directory_is_named_with_the_uid(tmp_path: Path) -> None:
    with pytest.raises(PidfileError, match=rf"missing does not exist.*uid {os.geteuid()}"):
        Pidfile.lock(tmp_path / "missing" / "jobd.pid")


def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PidfileError, match="world-writable"):
        Pidfile.lock(tmp_path / "jobd.pid")
    tmp_path.chmod(0o1777)
    Pidfile.lock(tmp_path / "jobd.pid").remove()


def test_a_file_that_everybody_may_write_to_is_refused(path: Path) -> None:
    path.touch()
    path.chmod(0o666)
    with pytest.raises(PidfileError, match="world-writable"):
        Pidfile.lock(path)


def test_removes_only_its_own_file(path: Path) -> None:
    lock = Pidfile.lock(path)
    path.unlink()
    path.write_text("4711\n")
    lock.remove()
    assert path.read_text() == "4711\n"


def test_only_the_owner_removes(path: Path) -> None:
    lock = Pidfile.lock(path)
    child = os.fork()
    if child == 0:
        lock.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert path.exists()
    lock.remove()


def test_testing_the_lock_does_not_take_it(path: Path) -> None:
    lock = Pidfile.lock(path)
    fd = os.open(path, os.O_RDONLY)
    assert pidfile.is_locked(fd)
    lock.close()
    assert not pidfile.is_locked(fd)
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    os.close(fd)
