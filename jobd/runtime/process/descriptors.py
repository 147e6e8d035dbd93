"""The limit of open files: enough for what the settings ask for, or a sentence that says so."""

from __future__ import annotations

import resource

from jobd.errors import ConfigError

_BESIDE_JOBS = 64
_OF_A_CHILD = 4  # in the master; in a reload there may be twice as many as workers


def provide(concurrency: int, workers: int) -> None:
    """Raise the soft limit if so many job threads in so many workers need it: every thread may need
    a connection or two, and the usual limit is for shells.

    Raises:
        ConfigError: the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _BESIDE_JOBS + 2 * concurrency + _OF_A_CHILD * 2 * workers
    if soft >= need:
        return
    if hard < need:
        raise ConfigError(
            f"with concurrency {concurrency} and workers {workers} jobd needs about {need} open "
            f"files, and the limit is {hard}: raise it (ulimit -n, LimitNOFILE) or lower them"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
