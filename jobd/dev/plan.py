"""The settings of ``jobd dev``: those of ``jobd run``, without what is only right in production.

A configuration file is often that of production. So some of its settings are replaced, unless they
are also given by a flag, by a variable, or for the environment alone, ``[environments.NAME]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobd.errors import ConfigError
from jobd.master import project
from jobd.settings.daemon import SETTINGS, Config
from jobd.settings.load import find_file, read

_REPLACED = {
    "workers": "1",
    "timeout": "2",
    "reload_timeout": "2",
    "logfile": "",
    "log_format": "console",
    "user": "",
    "group": "",
}
"""One worker is replaced faster than several; Ctrl-C and a reload do not wait long for jobs; the
log is read at the terminal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``jobd dev`` runs.

    Attributes:
        config: the settings, as ``jobd run`` would have them.
        file: the configuration file; None for none.
        words: arguments of ``jobd run``.
        all_queues: whether to serve those of all jobs, too.
        given: the names of the settings that are set anywhere.
        pidfile: the one that was given, not in the file; "" for none.
    """

    config: Config
    file: str | None
    words: tuple[str, ...]
    all_queues: bool
    given: frozenset[str]
    pidfile: str

    @property
    def directory(self) -> Path:
        """The directory that the application is imported from."""
        return Path(self.config.directory or Path.cwd())

    def watched(self, more: Iterable[Path]) -> list[Path]:
        """The directories whose code is watched."""
        files = (Path(one).expanduser() for one in self.config.require if "/" in one)
        found = {self.directory, *((self.directory / one).parent for one in files), *more}
        return sorted({one.resolve() for one in found if one.is_dir()})


def plan(config: str | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> Plan:
    """Read the settings.

    Raises:
        ConfigError: they are invalid, or no application is given.
        ApplicationError: the settings of a Django project cannot be imported.
    """
    file = find_file(config, environment)
    reading = read(file, environment, flags)
    reading = read(file, environment, flags, below=project.below(reading, environment, file))
    settings = reading.settings()
    if not settings.require:
        raise ConfigError(
            "no application is given: name its module or file with -r, e.g. -r shop, or as require "
            "in jobd.toml; a Django project is found by its manage.py; jobd new NAME creates an "
            "application to begin with"
        )

    def of_file(name: str) -> bool:
        """Whether its value is that of the whole file, or the default."""
        return reading.origins.get(name, f"{file}: {name}") == f"{file}: {name}"

    replaced = {name: value for name, value in _REPLACED.items() if of_file(name)}
    words = [f"--config={file}"] if file else []
    return Plan(
        settings,
        file,
        (*words, *arguments(flags), *arguments(replaced)),
        of_file("queues"),
        frozenset(reading.origins),
        "" if of_file("pidfile") else settings.pidfile,
    )


def arguments(flags: Mapping[str, object]) -> Iterator[str]:
    """The arguments of a command that give it *flags*, by the names of settings.

    >>> list(arguments({"queues": ("mail", "slow,2"), "preload": False, "tag": None}))
    ['--queue=mail', '--queue=slow,2', '--no-preload']
    """
    for one in SETTINGS:
        value, flag = flags.get(one.name), one.flags[-1]
        if value is None or value == ():
            continue
        if one.switch:
            yield flag if value else f"--no-{flag.removeprefix('--')}"
        elif one.repeatable and isinstance(value, tuple):
            yield from (f"{flag}={each}" for each in value)
        else:
            yield f"{flag}={value}"
