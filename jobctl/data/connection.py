"""Which Redis the commands work on, and in whose name they change something."""

from __future__ import annotations

import getpass
import os
import socket

import click

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.daemon import limit
from jobctl.say import say
from jobd.api.entry import Api
from jobd.errors import ConfigError
from jobd.settings.daemon import Config
from jobd.settings.load import Reading, find_file, read

_NEEDED = {"redis", "prefix"}


def connected(context: click.Context) -> Api:
    """The data API on the Redis that is meant. Changes are in the audit log, in the name of the
    user on this host; what is deleted goes to the trash.

    Raises:
        ConfigError: the configuration does not say clearly which Redis that is.
    """
    return _api(_config(context)).acting_as(user())


def connected_to(reading: Reading) -> Api:
    """The same on the Redis of a configuration that was read, which may be wrong elsewhere.

    Raises:
        ConfigError: it does not say clearly which Redis that is.
    """
    unclear = reading.wrong & _NEEDED or (reading.problems and "redis" not in reading.origins)
    if unclear:
        raise ConfigError(f"it is not clear which Redis is meant: {'; '.join(reading.problems)}")
    return _api(reading.config)


def _api(config: Config) -> Api:
    return Api(
        config.redis,
        config.prefix,
        dead_max_jobs=config.dead_max_jobs,
        dead_timeout=config.dead_timeout,
    )


def address(context: click.Context) -> tuple[str, str]:
    """The URL of that Redis and the prefix of its keys."""
    config = _config(context)
    return config.redis, config.prefix


def user() -> str:
    """Who works here, for the audit log: the user before ``sudo``."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # there is no name for this user id, as in containers
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()} (jobctl)"


def _config(context: click.Context) -> Config:
    """The settings; those that are wrong elsewhere must not keep an operator from the jobs."""
    flags = {name: options.given(context, name) for name in _NEEDED}
    with limit.within(limit.FILES, "cannot read the configuration"):
        file = find_file(options.given(context, "config"), os.environ)
        reading = read(file, os.environ, flags)
    if not reading.problems:
        return reading.config
    problem = "; ".join(reading.problems)
    by_flag = {name for name in _NEEDED if reading.origins.get(name, "").startswith("--")}
    if reading.wrong & (_NEEDED - by_flag) or "redis" not in reading.origins:
        raise Problem(Code.USAGE, f"{problem} (--redis and --prefix need no configuration)")
    say(f"{problem}; using the Redis of {reading.origins['redis']} nevertheless")
    return reading.config
