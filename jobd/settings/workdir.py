"""The directory that the daemon works in: where it is, and whether this process may.

It is known by its path, and every worker and zygote enters it again by that: where a symbolic link
(``current``) is part of the path, and a deployment has switched it, they work in the new release,
with its code and its files.

Every start looks before it opens anything there, and ``jobd check`` looks in the same way, so that
what is wrong is a sentence with the exit code for settings, which supervisors do not try again.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from jobd.errors import ConfigError

_started: tuple[str, str] | None = None


def remember() -> None:
    """Before the daemon leaves it: note where it was started, for all processes that it forks."""
    global _started
    _started = _started_in()


def _started_in() -> tuple[str, str]:
    """That directory, by the path by which a shell has gone there, if ``$PWD`` says that, and
    without symbolic links."""
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
        FileNotFoundError: it does not exist any more.
    """
    return Path(_started_in()[0])


def require(directory: str) -> Path:
    """The path of *directory* ("": where jobd was started), which this process can read and enter.

    Raises:
        ConfigError: it cannot; the text says why.
    """
    path = Path(directory).absolute() if directory else here()
    another = "give another one with --directory"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        entered = os.access(path, os.X_OK)
    except FileNotFoundError:
        raise ConfigError(f"directory: {path} does not exist; make it, or {another}") from None
    except NotADirectoryError:
        raise ConfigError(f"directory: {path} is not a directory; {another}") from None
    except PermissionError:
        entered = False
    except OSError as error:
        raise ConfigError(f"directory: {path}: {error.strerror}; {another}") from None
    if not entered:
        raise ConfigError(
            f"directory: uid {os.geteuid()} may not read {path}; let it in, or {another}"
        )
    return path


def enter(directory: str) -> None:
    """Go to *directory* ("": where jobd was started) by its path, and have modules looked for where
    that leads now.

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
