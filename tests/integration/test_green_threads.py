"""Applications that put green threads in the place of real ones."""

from __future__ import annotations

import importlib.util
import subprocess

import pytest

from tests.support.daemon import READY_SECONDS, Daemon, environment

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent in part": "from gevent import monkey; monkey.patch_socket()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
JOB = "import jobd\n@jobd.job\ndef ok(): pass\n"


def need(package: str) -> None:
    """Looked for and not imported: this process forks, and they mind."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.fixture(params=PATCHES)
def patch(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    need(name.split()[0])
    return PATCHES[name]


def refused(text: str) -> bool:
    return "monkey patching has replaced" in text and "socket" in text


def test_the_check_refuses_them(idle_daemon: Daemon, patch: str) -> None:
    idle_daemon.write_app(f"{patch}\n{JOB}")
    done = subprocess.run(
        idle_daemon.command("check", "-r", "app"),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=idle_daemon.directory,
        env=environment(),
        check=False,
    )
    assert done.returncode == 66, done.stderr
    assert refused(done.stderr)


@pytest.mark.parametrize(
    ("where", "flags"), [("import", ()), ("import", ("--preload",)), ("startup", ())]
)
def test_the_start_refuses_them(
    idle_daemon: Daemon, patch: str, where: str, flags: tuple[str, ...]
) -> None:
    if where == "startup":
        patch = f'import jobd\n@jobd.on("startup")\ndef patch():\n    {patch}'
    idle_daemon.write_app(f"{patch}\n{JOB}")
    idle_daemon.exit_codes = {66}
    idle_daemon.run(*flags)
    assert idle_daemon.wait_ended(3 * READY_SECONDS) == 66
    assert refused(idle_daemon.log())
    assert "process_failed" not in idle_daemon.log()


def test_having_them_without_using_them_is_fine(idle_daemon: Daemon) -> None:
    need("gevent")
    idle_daemon.write_app(f"from gevent import monkey\n{JOB}")
    idle_daemon.run()
    idle_daemon.wait_ready()
    assert idle_daemon.stop() == 0
