"""Row 38: whoever listens in the master's place, or puts something in the place of its files.

Root's jobctl, and logrotate behind it, ends in time, with a sentence and an exit code.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobctl.daemon.answers import FIRST_ANSWER, LAST_ANSWER
from jobd.master.files.paths import lock_path, socket_path, state_path
from jobd.runtime.process import processes
from tests.support.daemon import environment

Behaviour = Callable[[socket.socket], None]


class Impostor:
    """This process, which holds the lock and writes the files that a master would, and listens."""

    def __init__(self, directory: Path) -> None:
        self.pidfile = directory / "jobd.pid"
        self.pidfile.write_text(f"{os.getpid()}\n")
        lock_path(self.pidfile).touch(0o600)
        self._lock = lock_path(self.pidfile).open("r+")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        known = {
            "pid": os.getpid(),
            "ticks": processes.start_ticks(os.getpid()),
            "boot_id": processes.boot_id(),
            "uid": os.geteuid(),
            "version": "0",
            "state": "running",
            "generation": 1,
        }
        state_path(self.pidfile).write_text(json.dumps(known))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path(self.pidfile)))
        self._listener.listen()
        self.over = threading.Event()
        self._thread: threading.Thread | None = None

    def behave(self, behaviour: Behaviour) -> None:
        def serve() -> None:
            sock, _ = self._listener.accept()
            with sock:
                sock.recv(65536)
                try:
                    behaviour(sock)
                except OSError:
                    pass  # jobctl has had enough

        self._thread = threading.Thread(target=serve)
        self._thread.start()

    def jobctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobctl", "-P", str(self.pidfile), *words],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=3 * LAST_ANSWER,
        )

    def close(self) -> None:
        self.over.set()
        if self._thread is not None:
            self._thread.join()
        self._listener.close()
        self._lock.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    made = Impostor(tmp_path)
    yield made
    made.close()


def answer(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def endless(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"x" * 65536)


def deep(sock: socket.socket) -> None:
    sock.sendall(b'{"type":' + b"[" * 200_000 + b"\n")


MALFORMED = {
    "no JSON": b"hello\n",
    "no object": b"[]\n",
    "no type": b"{}\n",
    "a type that is none": b'{"type":5}\n',
    "an error that is no text": b'{"type":"failed","error":{}}\n',
    "no UTF-8": b'{"type":"\xff"}\n',
    "no status": answer(type="done"),
    "a status that is no object": answer(type="done", status=[1]),
    "an empty status": answer(type="done", status={}),
    "a status that is too deep": b'{"type":"done","status":'
    + b'{"a":' * 900
    + b"1"
    + b"}" * 902
    + b"\n",
    "half a status": answer(type="done", status={"state": "running", "version": {}, "pid": []}),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_38_a_malformed_answer_is_a_sentence(impostor: Impostor, content: bytes) -> None:
    impostor.behave(lambda sock: sock.sendall(content))
    said(impostor.jobctl("status"), 1, "the answer is malformed")


def test_38_a_table_takes_memory_only_for_what_is_in_it(impostor: Impostor) -> None:
    """Not for the widest cell in every row."""
    child = {"role": "worker.0", "state": "ready", "reason": "", "pid": 1, "generation": 1}
    child |= dict.fromkeys(["uptime", "busy", "processed", "failed", "memory", "rss"], 0)
    status = {"state": "running", "version": "0", "pid": 1, "uptime": 0, "generation": 1, "rss": 0}
    status |= {"cause": "", "redis": "", "queues": [], "concurrency": 1, "logfile": ""}
    status |= {"keeper": None, "backing_off": [], "degraded": False, "unrecovered": 0}
    workers = [child] * 999 + [{**child, "state": "x" * 1_000_000}]
    content = answer(type="done", status={**status, "workers": workers})
    impostor.behave(lambda sock: sock.sendall(content))
    done = impostor.jobctl("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) < 1_000_000


@pytest.mark.parametrize("behaviour", [endless, deep])
def test_38_an_answer_without_end_is_a_sentence(impostor: Impostor, behaviour: Behaviour) -> None:
    impostor.behave(behaviour)
    said(impostor.jobctl("status"), 1, "the answer is malformed")


@pytest.mark.parametrize("words", ["limit", "code", "returned", "text"])
def test_38_no_field_of_an_answer_is_believed_to_be_what_it_is_not(
    impostor: Impostor, words: str
) -> None:
    impostor.behave(lambda sock: sock.sendall(answer(type="accepted", **{words: ["no"]})))
    said(impostor.jobctl("stop"), 1, "the answer is malformed")


def test_38_a_first_answer_that_trickles_is_none(impostor: Impostor) -> None:
    def trickle(sock: socket.socket) -> None:
        while not impostor.over.wait(0.2):
            sock.sendall(b" ")

    impostor.behave(trickle)
    began = time.monotonic()
    said(impostor.jobctl("status"), 5, "the master does not answer")
    assert time.monotonic() - began < LAST_ANSWER, f"and not {FIRST_ANSWER} s"


def test_38_a_command_that_is_taken_and_never_done_ends_in_time(tmp_path: Path) -> None:
    def try_one(command: str) -> None:
        directory = tmp_path / command
        directory.mkdir()
        impostor = Impostor(directory)

        def accept(sock: socket.socket) -> None:
            sock.sendall(answer(type="accepted"))
            while not impostor.over.wait(0.5):
                sock.sendall(answer(type="progress", text="soon"))

        impostor.behave(accept)
        try:
            said(impostor.jobctl(command), 5, f"{command.removesuffix('-logs')}: the master has")
        finally:
            impostor.close()

    # All at once, for each waits for half a minute.
    with ThreadPoolExecutor() as threads:
        list(threads.map(try_one, ["status", "quiet", "resume", "threads", "reopen-logs"]))


@pytest.mark.parametrize("suffix", [".pid", ".state", ".lock"])
def test_38_a_fifo_in_place_of_a_file_holds_nobody(impostor: Impostor, suffix: str) -> None:
    file = impostor.pidfile.with_suffix(suffix)
    file.unlink()
    os.mkfifo(file, 0o600)
    with open(file, "r+b", buffering=0):  # noqa: PTH123 - held open, and nothing written
        done = impostor.jobctl("status")
    assert done.returncode in (3, 5, 6), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def said(done: subprocess.CompletedProcess[str], code: int, text: str) -> None:
    assert (done.returncode, text in done.stderr) == (code, True), (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr


_HANG = """
import os, sys
import jobctl.daemon.pidfile
from jobctl.cli import main

reader, _writer = os.pipe()
jobctl.daemon.pidfile.Daemon.find = lambda path: os.read(reader, 1)
sys.exit(main(sys.argv[1:]))
"""


def test_38_files_on_a_file_system_that_hangs_are_a_sentence(tmp_path: Path) -> None:
    """Every call of the kernel's that does not return is alike; this one is a read of a pipe."""
    command = [sys.executable, "-c", _HANG, "-P", str(tmp_path / "x"), "status"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    said(done, 5, "cannot read the configuration or the files beside the pidfile (after 10 s)")
