"""The log file: rotation, lost space, and what can stand at its path."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.errors import Exit
from jobd.runtime.log.file import LogFile, LogFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobd.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    made = LogFile.open(str(path))
    yield made
    os.close(made.fd)


def test_records_are_appended(path: Path) -> None:
    path.write_bytes(b"before\n")
    log = LogFile.open(str(path))
    log.write(b"one\n")
    log.write(b"two\n")
    os.close(log.fd)
    assert path.read_bytes() == b"before\none\ntwo\n"


def test_a_new_file_is_private_to_owner_and_group_and_not_inherited(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        log = LogFile.open(str(tmp_path / "new.log"))
    finally:
        os.umask(before)
    assert (tmp_path / "new.log").stat().st_mode & 0o777 == 0o640
    assert not os.get_inheritable(log.fd)
    os.close(log.fd)


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = LogFile.open("a.log")
    assert log.path == str(tmp_path / "a.log")
    os.close(log.fd)


@pytest.mark.parametrize(
    ("name", "reason"), [("none/a.log", "does not exist; create it"), (".", "directory")]
)
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(LogFileError, match=reason) as caught:
        LogFile.open(str(tmp_path / name))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == Exit.CANNOT_CREATE


def test_a_fifo_without_a_reader_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LogFileError, match="cannot open the log file"):
        LogFile.open(str(tmp_path / "fifo"))


def test_reopening_follows_a_rotation(log: LogFile, path: Path) -> None:
    log.write(b"old\n")
    number = log.fd
    assert not log.moved()
    path.rename(path.with_suffix(".1"))
    assert log.moved()
    log.write(b"still old\n")
    assert log.reopen() is None
    assert (log.fd, log.moved()) == (number, False)
    log.write(b"new\n")
    assert path.with_suffix(".1").read_bytes() == b"old\nstill old\n"
    assert path.read_bytes() == b"new\n"
    assert not os.get_inheritable(log.fd)


def test_a_thousand_reopenings_leak_nothing(log: LogFile) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(1000):
        assert log.reopen() is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_when_reopening_fails_the_old_file_stays_in_use(log: LogFile, path: Path) -> None:
    aside = path.with_suffix(".1")
    path.rename(aside)
    path.mkdir()
    assert log.moved()
    error = log.reopen()
    assert error is not None
    assert "it is a directory" in error
    log.write(b"kept\n")
    text = aside.read_text()
    assert "continuing with the old file" in text
    assert text.endswith("kept\n")


def test_another_file_at_the_path_counts_as_moved(log: LogFile, path: Path) -> None:
    path.unlink()
    path.touch()
    assert log.moved()


def test_standard_error_has_nothing_to_reopen(capfd: pytest.CaptureFixture[str]) -> None:
    log = LogFile.open("")
    assert (log.fd, log.path, log.moved()) == (2, "", False)
    assert log.reopen() is None
    assert "no file to reopen" in capfd.readouterr().err


def test_a_full_disk_costs_records_and_says_how_many(
    log: LogFile, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    working = os.dup(log.fd)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log.fd)
    for _ in range(7):
        log.write(b"lost\n")
    os.dup2(working, log.fd)
    log.write(b"kept\n")
    log.write(b"kept too\n")
    os.close(working)
    os.close(full)
    lines = path.read_text().splitlines()
    assert lines[0] == "kept"
    assert "7 log records were lost" in lines[1]
    assert lines[2:] == ["kept too"]
    complaints = capfd.readouterr().err.splitlines()
    assert len(complaints) == 1  # at most one in ten seconds
    assert "No space left" in complaints[0]
    assert str(path) in complaints[0]


def test_a_file_system_that_has_gone_away_is_no_error_of_ours(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master looks at it in every turn."""

    def stale(_fd: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "fstatvfs", stale)
    monkeypatch.setattr(os, "fstat", stale)
    trouble, moved = log.trouble, log.moved()
    monkeypatch.undo()
    assert (trouble, moved) == ("", True)


def test_a_record_that_was_cut_short_does_not_spoil_the_next_line(log: LogFile, path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    working = os.dup(log.fd)
    os.dup2(writing, log.fd)
    log.write(b"x" * 1_000_000 + b"\n")  # a pipe takes only its beginning
    os.dup2(working, log.fd)
    log.write(b"next\n")
    for fd in (reading, writing, working):
        os.close(fd)
    assert path.read_text().splitlines()[:2] == ["", "next"]


def test_records_of_many_threads_stay_whole_during_rotations(log: LogFile, path: Path) -> None:
    def work(letter: str) -> None:
        for number in range(500):
            log.write(f"{letter * 50} {number}\n".encode())

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    rotations = 0
    while any(thread.is_alive() for thread in threads):
        path.rename(path.with_suffix(f".{rotations}"))
        assert log.reopen() is None
        rotations += 1
        threads[rotations % 4].join(0.005)
    lines = "".join(file.read_text() for file in path.parent.iterdir()).splitlines()
    assert len(lines) == 2000
    assert sorted(lines) == sorted(f"{letter * 50} {n}" for letter in "abcd" for n in range(500))


# --- records that are held ------------------------------------------------------------------


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was given to each write()."""
    seen: list[bytes] = []
    write = os.write

    def watched(fd: int, data: bytes) -> int:
        seen.append(data)
        return write(fd, data)

    monkeypatch.setattr(os, "write", watched)
    return seen


def test_held_records_share_a_write(log: LogFile, path: Path, writes: list[bytes]) -> None:
    log.hold(b"one\n")
    log.hold(b"two\n")
    assert not path.read_bytes()
    log.flush()
    log.flush()
    assert writes == [b"one\ntwo\n"]
    assert path.read_bytes() == b"one\ntwo\n"


def test_together_they_stay_atomic_in_a_pipe(log: LogFile, writes: list[bytes]) -> None:
    records = [b"%d %s\n" % (number, b"x" * 500) for number in range(20)]
    for record in records:
        log.hold(record)
    log.hold(b"y" * 10_000 + b"\n")  # one that could not be atomic anyway goes alone
    log.flush()
    assert b"".join(writes[:-1]) == b"".join(records)
    assert all(len(written) <= 4096 for written in writes[:-1])
    assert len(writes[-1]) == 10_001


def test_of_a_block_that_was_cut_short_the_incomplete_records_are_counted(
    log: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    for record in (b"whole\n", b"cut\n", b"gone\n"):
        log.hold(record)
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:8]))
    log.flush()
    monkeypatch.setattr(os, "write", write)
    log.write(b"again\n")
    lines = path.read_bytes().splitlines()
    assert lines[:3] == [b"whole", b"cu", b"again"]
    assert b"2 log records were lost" in lines[3]


def test_a_forked_copy_does_not_write_what_the_original_holds(log: LogFile, path: Path) -> None:
    log.hold(b"once\n")
    child = os.fork()
    if child == 0:
        log.disown()
        log.write(b"child\n")
        os._exit(0)
    os.waitpid(child, 0)
    log.flush()
    assert path.read_bytes() == b"child\nonce\n"
