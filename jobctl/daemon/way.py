"""The path to a pidfile, as root uses it: nobody else may redirect it to another daemon."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from jobctl.codes import Code, Problem
from jobd.runtime.process import safe_path


def check(path: Path, own: int | None) -> None:
    """Refuse, as root, a path that another user could redirect to another daemon.

    Args:
        own: uid of the daemon.

    Raises:
        Problem: it is refused.
    """
    if os.geteuid() != 0:
        return  # other users cannot affect another user's daemon
    try:
        uids, weak = safe_path.masters(path)
    except OSError as error:
        raise cannot_read(path, error) from None
    others = uids - {own}
    if weak or others:
        why = weak or f"uid {min(others)} can change the path to it"
        raise Problem(
            Code.REFUSED,
            f"root does not use {path}: {why}, and could redirect it to another daemon. Nothing "
            f"was signalled; run jobctl as the user of the daemon, uid {own}",
        )


def cannot_read(path: Path, error: OSError) -> Problem:
    """The problem that a file of a daemon cannot be opened."""
    if error.errno == errno.EACCES:
        return Problem(Code.PARTIAL, f"permission denied: {path}; use sudo")
    if error.errno == errno.ELOOP:
        return Problem(Code.REFUSED, f"{path} is a symbolic link, not a pidfile")
    if error.errno == errno.ENXIO:
        return Problem(Code.REFUSED, f"{path} is a socket, not a pidfile")
    return Problem(Code.REFUSED, f"cannot read the pidfile {path}: {error.strerror}")
