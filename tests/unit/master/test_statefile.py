"""The state file, and the identity of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.master.children.recoveries import Recoveries
from jobd.master.files import orphans, statefile
from jobd.master.files.statefile import ChildRecord, State, Unrecovered
from jobd.runtime.process import processes


def a_state(**changes: object) -> State:
    fields = {
        "pid": os.getpid(),
        "ticks": processes.start_ticks(os.getpid()),
        "boot_id": processes.boot_id(),
        "uid": os.geteuid(),
        "version": "0",
        "state": "running",
        "generation": 1,
    }
    return State(**(fields | changes))  # type: ignore[arg-type]


def record(pid: int, ticks: int) -> ChildRecord:
    return ChildRecord(
        slot=0, pid=pid, ticks=ticks, identity=f"host:{pid}:abc", generation=1, state="ready"
    )


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "jobd.state"
    written = a_state(unrecovered=(Unrecovered("host:1:abc", (3, 4), "exit code 1"),))
    statefile.save(path, written)
    assert statefile.load(path) == written
    assert [file.name for file in tmp_path.iterdir()] == ["jobd.state"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_damaged_file_is_no_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobd.state"
    path.write_bytes(content)
    assert statefile.load(path) is None


def test_another_schema_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "jobd.state"
    statefile.save(path, a_state(schema=99))
    assert statefile.load(path) is None


def test_a_process_is_opened_only_with_its_start_time(sleeper: subprocess.Popen[bytes]) -> None:
    ticks = processes.start_ticks(sleeper.pid)
    assert ticks is not None
    assert processes.Process.open(sleeper.pid, ticks + 1) is None
    process = processes.Process.open(sleeper.pid, ticks)
    assert process is not None
    assert process.alive()
    process.send(signal.SIGKILL)
    assert process.wait(5)
    sleeper.wait()
    process.send(signal.SIGKILL)  # too late, and no error
    process.close()


def test_the_sweep_ends_what_is_left_and_names_its_workers(
    sleeper: subprocess.Popen[bytes],
) -> None:
    ticks = processes.start_ticks(sleeper.pid) or 0
    dead = orphans.sweep(a_state(workers=(record(sleeper.pid, ticks),)))
    assert sleeper.wait(5) == -signal.SIGTERM
    assert [entry.identity for entry in dead] == [f"host:{sleeper.pid}:abc"]


def test_the_sweep_ends_a_zygote_which_had_no_jobs(sleeper: subprocess.Popen[bytes]) -> None:
    ticks = processes.start_ticks(sleeper.pid) or 0
    assert orphans.sweep(a_state(zygotes=(record(sleeper.pid, ticks),))) == []
    assert sleeper.wait(5) == -signal.SIGTERM


def test_the_sweep_spares_a_process_that_has_got_the_pid(
    sleeper: subprocess.Popen[bytes],
) -> None:
    ticks = processes.start_ticks(sleeper.pid) or 0
    orphans.sweep(a_state(workers=(record(sleeper.pid, ticks + 1),)))
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_the_sweep_calls_no_worker_dead_that_belongs_to_another_user(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "owner", lambda _pid: os.geteuid() + 1)
    ticks = processes.start_ticks(sleeper.pid) or 0
    assert orphans.sweep(a_state(workers=(record(sleeper.pid, ticks),))) == []
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_the_sweep_calls_no_worker_dead_that_cannot_be_killed(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits in the kernel."""
    monkeypatch.setattr(orphans, "_PATIENCE", 0.01)
    monkeypatch.setattr(processes.Process, "send", lambda *_: None)
    ticks = processes.start_ticks(sleeper.pid) or 0
    assert orphans.sweep(a_state(workers=(record(sleeper.pid, ticks),))) == []
    sleeper.kill()
    sleeper.wait()


def test_the_sweep_spares_everything_after_a_reboot(sleeper: subprocess.Popen[bytes]) -> None:
    ticks = processes.start_ticks(sleeper.pid) or 0
    dead = orphans.sweep(a_state(boot_id="another", workers=(record(sleeper.pid, ticks),)))
    assert sleeper.poll() is None
    assert len(dead) == 1
    sleeper.kill()
    sleeper.wait()


def test_recoveries_are_owed_until_done() -> None:
    owed = Recoveries([Unrecovered("a", (1,), "exit code 1")])
    owed.add(Unrecovered("b"))
    assert [message.identity for message in owed.messages()] == ["a", "b"]
    owed.done("a")
    owed.done("a")
    assert len(owed) == 1


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jobd.state"
    path.write_text("old")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: real(fd, content[: len(content) // 2]))
    known = statefile.State(
        pid=1, ticks=1, boot_id="", uid=0, version="", state="running", generation=1
    )
    with pytest.raises(OSError, match="No space left"):
        statefile.save(path, known)
    assert path.read_text() == "old"


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"pid": "\xff"}'])
def test_no_content_of_the_file_is_more_than_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobd.state"
    path.write_bytes(content)
    assert statefile.load(path) is None
