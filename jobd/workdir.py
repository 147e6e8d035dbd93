"""The directory that the daemon works in: whether this process may.

Every start looks before it opens anything there, and ``jobd check`` looks in the same way, so that
what is wrong is a sentence with the exit code for settings, which supervisors do not try again.
"""

from __future__ import annotations

import os
from pathlib import Path

from jobd.errors import ConfigError


def require(directory: str) -> None:
    """Return if this process can read and enter *directory* ("": the current one).

    Raises:
        ConfigError: it cannot; the text says why.
    """
    path = Path(directory).absolute()
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
