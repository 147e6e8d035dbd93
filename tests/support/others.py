"""Somebody else on this machine: a user without rights, and other namespaces.

Everything here skips the test, with a reason, where the machine does not let us.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import environment

NOBODY = 65534


class Nobody:
    """Runs Python programs as a user without any rights."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            pytest.skip("becoming another user needs root and setpriv")
        if self("-c", "import jobd, jobctl, redis, psutil, daemon").returncode:
            pytest.skip(f"not every user may run {sys.executable} with jobd")

    @property
    def prefix(self) -> list[str]:
        """What becomes the command behind it, as that user."""
        return [
            str(shutil.which("setpriv")),
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
        ]

    @property
    def environment(self) -> dict[str, str]:
        # The interpreter's own directories may be closed to others: then these lead to jobd.
        path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        return {**environment(), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, *arguments: str) -> dict[str, Any]:
        return {"args": [*self.prefix, sys.executable, *arguments], "env": self.environment}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            **self.command(*arguments), cwd="/", capture_output=True, text=True, timeout=30
        )


def mounts(script: str) -> list[str]:
    """A prefix that runs its command with mounts of its own, which *script* (sh) makes first.

    They are gone with the last process that has them, and nobody else sees them; from outside,
    what is in them is found below ``/proc/PID/root``.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = [unshare, "--mount", *as_root, "sh", "-ec", f'{script}\nexec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root, or user namespaces")
    return prefix
