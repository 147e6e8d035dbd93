"""The limit of open files, raised as far as the settings require."""

from __future__ import annotations

import resource

from jobd.errors import ConfigError

_BESIDE_JOBS = 64
_OF_A_CHILD = 4  # in the master; in a reload there may be twice as many as workers


def provide(concurrency: int, workers: int) -> None:
    """Raise the soft limit if that many job threads and workers need it: every thread may use one
    or two connections.

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
            f"files, but the limit is {hard}: raise it (ulimit -n, LimitNOFILE) or lower them"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
