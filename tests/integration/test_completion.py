"""Completion in real shells: what a Tab offers in zsh, and what bash and fish are told."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.support.daemon import environment

PROGRAM = f"""#!{sys.executable}
import sys
sys.argv[0] = "jobctl"
from jobctl.cli import main
main()
"""


@pytest.fixture
def home(tmp_path: Path, server: EmbeddedServer) -> dict[str, str]:
    """The environment of a user who has ``jobctl`` on the PATH."""
    program = tmp_path / "bin" / "jobctl"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    mine = {"PATH": path, "HOME": str(tmp_path), "JOBD_REDIS": server.url, "TERM": "dumb"}
    return environment(mine)


def script(shell: str, home: dict[str, str]) -> str:
    return subprocess.run(
        ["jobctl", "completion", shell],
        env=home,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        executable=f"{home['HOME']}/bin/jobctl",
    ).stdout


def offered_by_bash(home: dict[str, str], line: str) -> list[str]:
    """What bash completes the *line* to."""
    file = Path(home["HOME"]) / "jobctl.bash"
    file.write_text(script("bash", home))
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"source {file}; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
            "_jobctl jobctl; printf '%s\\n' \"${COMPREPLY[@]}\"",
        ],
        env=home,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_bash_completes_names_with_colons(home: dict[str, str], redis: redis_py.Redis) -> None:
    redis.sadd("queues", "mail", "main")
    for line, offered in (
        ("jobctl export dead queue:mai", ["mail", "main"]),
        ("jobctl export qu", ["queue:mail", "queue:main"]),
        ("jobctl queues show mail", ["mail"]),
    ):
        assert offered_by_bash(home, line) == offered


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(home: dict[str, str], redis: redis_py.Redis) -> None:
    redis.sadd("queues", "mail", "main")
    file = Path(home["HOME"]) / "jobctl.fish"
    file.write_text(script("fish", home))

    def offered(line: str) -> list[list[str]]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {file}; complete -C '{line}'"],
            env=home,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stderr == ""
        return [each.split("\t") for each in done.stdout.splitlines()]

    [[command, help_]] = offered("jobctl queues cl")
    assert (command, help_) == ("clear", "Delete all jobs of a queue.")
    assert [each[0] for each in offered("jobctl queues show ma")] == ["mail", "main"]
    # A comma in a text does not end it.
    [[command, help_]] = offered("jobctl que")
    assert command == "queues"
    assert len(help_.split()) > 2
    assert [each[0] for each in offered("jobctl stop --ti")] == ["--timeout"]
    # A word with a space in it is one, and what is wrong is not written into the line.
    assert [each[0] for each in offered('jobctl jobs find --error "no user" --queue ma')] == [
        "mail",
        "main",
    ]
    assert offered("jobctl no-such-command ") == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh(home: dict[str, str], redis: redis_py.Redis) -> None:
    redis.sadd("queues", "mailings")
    file = Path(home["HOME"]) / "jobctl.zsh"
    file.write_text(script("zsh", home))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "--no-rcs", "-i"],
        env=home,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    said = b""

    def expect(text: bytes) -> None:
        nonlocal said
        end = time.monotonic() + 120
        while text not in said:
            assert time.monotonic() < end, said
            said += os.read(master, 4096)
        said = said.partition(text)[2]

    try:
        # The terminal echoes what is typed; what a shell says itself is in two parts here.
        os.write(master, b"PS1=; unsetopt zle_bracketed_paste; autoload -Uz compinit\n")
        os.write(master, f"compinit -u -D; source {file}; print rea''dy\n".encode())
        expect(b"ready")
        for typed, completed in (
            (b"jobctl que", b"ues "),
            (b"jobctl queues cl", b"ear "),
            (b"jobctl queues show mai", b"lings"),
            (b"jobctl stop --tim", b"eout"),
        ):
            os.write(master, typed + b"\t")
            expect(typed)
            expect(completed)
            os.write(master, b"\x15")  # forget the line
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_no_name_becomes_a_command(home: dict[str, str], redis: redis_py.Redis) -> None:
    """bash writes what it completes into the command line without quotes."""
    plain = ["mail", "mail#x", "mail,a-b_c.d:e", "mail@größe%"]
    special = ["a;reboot", "a|sh", "a&b", "a<b", "a>b", "a(b)", "a*", "a?", "a[b]", "a{b,c}", "a!b"]
    special += ["~root", "#a", "--all", "=a", "a b", "a'b", 'a"b', "a\\b", "a$b", "a`b`", "a\nb"]
    special += ["a\x1b[2J", "a\u202eb", "a" * 100_000]
    redis.sadd("queues", *plain, *special)
    assert sorted(offered_by_bash(home, "jobctl queues show ")) == sorted(plain)


def test_what_is_wrong_is_not_written_into_the_line(home: dict[str, str]) -> None:
    assert offered_by_bash(home, "jobctl no-such-command ") == [""]
