"""``python -m tests.interpreters``: with which Python the tests run, and with which they could.

Those on PATH and those that pyenv keeps; of each minor version that jobd supports or soon will, the
first that runs.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def find(version: str) -> Path | None:
    """An interpreter of this minor version; None where there is none."""
    return next((path for path in _candidates(version) if _runs(path, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield Path(sys.executable)
    for directory in os.get_exec_path():
        yield Path(directory, name)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)


def _runs(path: Path, version: str) -> bool:
    """Whether it does; that of pyenv on PATH may only say that it is not chosen."""
    if not os.access(path, os.X_OK):
        return False
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([path, "-c", program], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def main() -> None:
    own = platform.python_version()
    print(f"Python {own} ({Path(sys.executable).resolve()})")
    for version in VERSIONS:
        if not own.startswith(f"{version}."):
            path = find(version)
            print(f"not tried: {version}, " + (f"PYTHON={path}" if path else "which is not here"))


if __name__ == "__main__":
    main()
