"""A booted systemd to run the units in; see box.sh for what it is made of."""

from __future__ import annotations

import os
import shutil
import signal
import site
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support import processes
from tests.support.daemon import wait

CHECKOUT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
BOOT_SECONDS = 20.0


class CannotBoot(Exception):
    """This machine has no systemd, or does not let us boot one; the text says which."""


class Box:
    """The box, from its boot to its end.

    Args:
        directory: an empty one, the same inside.

    Raises:
        CannotBoot: not here.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        _check()
        self._cgroup = _cgroup_root() / f"jobd-box.{os.getpid()}"
        self._cgroup.mkdir()
        # The installed packages may be a virtual environment's, whose interpreter lives elsewhere.
        prefix, packages = sys.base_prefix, site.getsitepackages()[0]
        with (directory / "box.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(__file__).with_name("box.sh")),
                    *("outside", str(directory), str(self._cgroup)),
                    *(prefix, packages, str(CHECKOUT)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes.worlds.add(self._process.pid)
        self._init = 0
        try:
            wait(self._booted, BOOT_SECONDS, "systemd has booted")
        except AssertionError as failure:
            story = "".join(
                file.read_text(errors="replace") for file in sorted(directory.glob("*.log"))
            )
            self.close()
            raise CannotBoot(f"{failure}: {story[-2000:]}") from None

    def _booted(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"box.sh ended with {self._process.returncode}")
        children = psutil.Process(self._process.pid).children()
        if not children or not Path(f"/proc/{children[0].pid}/root/run/systemd/private").exists():
            return False
        self._init = children[0].pid
        return self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def run(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        return subprocess.run(
            ["nsenter", "-t", str(self._init), *["-m", "-p", "-u", "-i", "-C", "--"], *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd="/",
        )

    def path(self, inside: str) -> Path:
        """The file *inside* as seen from outside."""
        return Path(f"/proc/{self._init}/root{inside}")

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """What the unit has written, and systemd about it."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    @property
    def limits_memory(self) -> bool:
        """Whether systemd can limit the memory of a unit here, and notices when that is reached."""
        return "memory" in (self._cgroup / "cgroup.controllers").read_text().split()

    def pids(self, unit: str) -> list[int]:
        """The processes of a service as they are numbered outside."""
        listed = self._cgroup / "system.slice" / unit / "cgroup.procs"
        return [int(pid) for pid in listed.read_text().split()]

    def close(self) -> None:
        """End it, at once: with its first process the kernel kills all others."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        processes.worlds.discard(self._process.pid)
        wait(self._empty, 20, "all processes of the box have gone")
        for directory, _, _ in os.walk(self._cgroup, topdown=False):
            Path(directory).rmdir()

    def _empty(self) -> bool:
        processes.reap()
        return not any(
            (Path(directory) / "cgroup.procs").read_text().strip()
            for directory, _, _ in os.walk(self._cgroup)
        )


def _check() -> None:
    if os.geteuid() != 0:
        raise CannotBoot("booting a systemd needs root")
    for program in ("unshare", "nsenter", "setpriv", "pivot_root", "bash"):
        if not shutil.which(program):
            raise CannotBoot(f"{program} is not installed")
    if not SYSTEMD.exists():
        raise CannotBoot(f"{SYSTEMD} is not installed")
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "mount", "-t", "tmpfs", "t", "/mnt"],
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        raise CannotBoot(f"no namespaces with mounts here: {tried.stderr.strip()}")


def _cgroup_root() -> Path:
    """Where the host has its cgroup2 tree."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    raise CannotBoot("there is no cgroup2 tree that may be written")
