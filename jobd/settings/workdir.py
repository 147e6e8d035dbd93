"""The daemon's working directory: its path, and checks that this process can enter it.

Every worker and zygote enters it again by its path: if the path contains a symbolic link
(``current``) that a deployment has switched, they use the code and files of the new release.

Every start, and ``jobd check``, check the directory first, so that a problem is reported as an
invalid setting, with the exit code at which supervisors do not restart.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from jobd.errors import ConfigError

_started: tuple[str, str] | None = None


def remember() -> None:
    """Record the directory that the daemon was started in, for all processes that it forks."""
    global _started
    _started = _started_in()


def _started_in() -> tuple[str, str]:
    """The path of that directory as in ``$PWD``, if that is correct, and its real path."""
    if _started is not None:
        return _started
    real = str(Path.cwd())
    named = os.environ.get("PWD", "")
    try:
        same = os.path.isabs(named) and os.path.samefile(named, real)  # noqa: PTH117, PTH121
    except OSError:
        same = False
    return (named if same else real), real


def here() -> Path:
    """The directory that jobd was started in, by the path by which it was entered.

    Raises:
        FileNotFoundError: it no longer exists.
    """
    return Path(_started_in()[0])


def require(directory: str) -> Path:
    """The path of *directory* ("": where jobd was started).

    Raises:
        ConfigError: this process cannot read and enter it; the text says why.
    """
    path = Path(directory).absolute() if directory else here()
    another = "give another one with --directory"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        entered = os.access(path, os.X_OK)
    except FileNotFoundError:
        raise ConfigError(f"directory: {path} does not exist; create it, or {another}") from None
    except NotADirectoryError:
        raise ConfigError(f"directory: {path} is not a directory; {another}") from None
    except PermissionError:
        entered = False
    except OSError as error:
        raise ConfigError(f"directory: {path}: {error.strerror}; {another}") from None
    if not entered:
        raise ConfigError(
            f"directory: uid {os.geteuid()} may not read {path}; grant it access, or {another}"
        )
    return path


def enter(directory: str) -> None:
    """Change to *directory* ("": where jobd was started) by its path, and update the import path to
    where it leads now.

    Raises:
        ConfigError: this process cannot.
    """
    os.chdir(require(directory))
    named, real = _started_in()
    now = os.path.realpath(named)
    if now != real:
        sys.path[:] = [_moved(entry, real, now) for entry in sys.path]
    importlib.invalidate_caches()


def _moved(path: str, before: str, now: str) -> str:
    inside = path == before or path.startswith(before + os.sep)
    return now + path[len(before) :] if inside else path
