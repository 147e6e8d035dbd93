"""Loading of the settings from defaults, the file, environment variables and flags.

Each source overrides those before it. All problems are collected before an error is raised, so that
they can be fixed together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobd.errors import ConfigError
from jobd.schedules.schedule import Written
from jobd.settings import periodic, workdir
from jobd.settings.daemon import SETTINGS, Config
from jobd.settings.dashboard import WEB_SETTINGS, WebConfig
from jobd.settings.schema import Invalid, Setting
from jobd.text.spelling import meant

FRAMEWORK = "the Django project"
"""The source of settings of a framework."""

_ENVIRONMENTS = "environments"
_WEB = "web"
_PERIODIC = "periodic"
_MOST_BYTES = 1_000_000


@dataclass(slots=True)
class Reading:
    """The result of :func:`read`: the valid settings, and all problems.

    *origins* holds, by field name, the source of each value that is not the default; *wrong* names
    the settings that are invalid in some source.
    """

    config: Config
    origins: dict[str, str]
    problems: list[str]
    wrong: set[str]

    def settings(self) -> Config:
        """The settings, if there are no problems.

        Raises:
            ConfigError: there are; the text names every problem with its place.
        """
        if self.problems:
            raise ConfigError(_sentence(self.problems))
        return self.config


def find_file(given: str | None, environment: Mapping[str, str]) -> str | None:
    """The file to read: *given*, ``$JOBD_CONFIG``, ``./jobd.toml`` if it exists, or None."""
    named = given or environment.get("JOBD_CONFIG")
    if named:
        return named
    try:
        os.lstat("jobd.toml")
    except FileNotFoundError:
        return None
    except OSError:
        pass  # reading it reports the error; ignoring it could leave the dashboard without users
    return "jobd.toml"


def load(
    file: str | None,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
    base: Path | None = None,
) -> Config:
    """The effective settings.

    Args:
        file: the TOML file, or None for none (see :func:`find_file`).
        environment: environment variables, normally ``os.environ``.
        flags: by field name, as text or as values; None and empty tuples count as not given.
        base: directory that relative paths start from; None for the working directory.

    Raises:
        ConfigError: a setting is invalid; the text names every problem with its place.

    Example:
        >>> load(None, {"JOBD_CONCURRENCY": "5"}, {"workers": "2"}).concurrency
        5
    """
    return read(file, environment, flags, base).settings()


def read(
    file: str | None,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
    base: Path | None = None,
    below: Mapping[str, object] = MappingProxyType({}),
) -> Reading:
    """Like :func:`load`, but returns the problems with the settings that are valid.

    Args:
        below: values of a framework, which all other sources override.
    """
    layer = _Layer(SETTINGS)
    for name, raw in below.items():
        layer.take(name, raw, FRAMEWORK, text=False)
    table = layer.open(file) if file else {}
    for part in (table, *_sections(table).values()):
        part.pop(_WEB, None)  # the dashboard's section, see load_web
    tables, problems = _periodic(table, f"{file}: ")
    layer.problems += problems
    sections = layer.take_sections(table, file)
    layer.take_table(table, f"{file}: ")

    above = _Layer(SETTINGS)
    above.take_variables(environment)
    above.take_flags(flags)

    names = {**layer.values, **above.values}
    chosen = sections.get(str(names.get("environment", Config().environment)))
    for section in sections.values():
        layer.problems += section.problems
    for upper in (chosen, above):
        if upper is not None:
            layer.values |= upper.values
            layer.origins |= upper.origins
            layer.wrong |= upper.wrong
    layer.problems += above.problems

    written = tables.get(str(names.get("environment", Config().environment)), tables[""])
    config = _absolute(Config(**layer.values, periodic=tuple(written)), base)
    if config.logfile and config.logfile == config.pidfile:
        layer.problems.append(f"logfile and pidfile are the same file: {config.logfile}")
    if config.group and not config.user:
        layer.problems.append(f"group {config.group} is set without a user")
    if 0 < config.memory_hard <= config.memory_soft:
        layer.problems.append(
            f"memory_hard ({config.memory_hard}) must be above memory_soft ({config.memory_soft}), "
            "or a worker is killed before it can be replaced"
        )
    return Reading(config, layer.origins, layer.problems, layer.wrong)


def _periodic(table: dict[str, object], place: str) -> tuple[dict[str, list[Written]], list[str]]:
    """Take the periodic jobs out of *table*: those of each environment that has its own, and under
    "" those of the others. And what is wrong with them."""
    parts = {"": table, **_sections(table)}
    found, problems = dict[str, list[Written]](), list[str]()
    for name, part in parts.items():
        if name and _PERIODIC not in part:
            continue
        above = f"{_ENVIRONMENTS}.{name}." if name else ""
        found[name], wrong = periodic.read(part.pop(_PERIODIC, []), f"{place}{above}{_PERIODIC}")
        problems += wrong
    return found, problems


def load_web(
    file: str | None,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
    name: str,
) -> WebConfig:
    """The effective settings of the dashboard, from the section ``[web]``, that of the environment
    *name* (``[environments.NAME.web]``), variables and flags; otherwise like :func:`load`.

    Raises:
        ConfigError: a setting is invalid; the text names every problem with its place.
    """
    web, problems = read_web(file, environment, flags, name)
    if problems:
        raise ConfigError(_sentence(problems))
    return web


def read_web(
    file: str | None, environment: Mapping[str, str], flags: Mapping[str, object], name: str
) -> tuple[WebConfig, list[str]]:
    """Like :func:`load_web`, but returns the problems with the settings that are valid. An
    unreadable file is not among them: :func:`read` reports it."""
    layer, chosen = _Layer(WEB_SETTINGS), dict[str, object]()
    table = _Layer(SETTINGS).open(file) if file else {}
    parts = {"": table}
    parts |= {f"{_ENVIRONMENTS}.{key}.": part for key, part in _sections(table).items()}
    for above, part in parts.items():
        section = part.get(_WEB, {})
        here = _Layer(WEB_SETTINGS)
        if isinstance(section, dict):
            here.take_table(section, f"{file}: {above}{_WEB}.", others=())
        else:
            here.problems.append(f"{file}: {above}{_WEB} must be a section, [{above}{_WEB}]")
        layer.problems += here.problems
        if above in ("", f"{_ENVIRONMENTS}.{name}."):
            chosen |= here.values
    layer.take_variables(environment)
    layer.take_flags(flags)
    return WebConfig(**{**chosen, **layer.values}), layer.problems


def _sections(table: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The sections of the environments. Entries that are not sections are reported elsewhere."""
    found = table.get(_ENVIRONMENTS)
    items = found.items() if isinstance(found, dict) else ()
    return {name: section for name, section in items if isinstance(section, dict)}


@dataclass(slots=True)
class _Layer:
    """The values of one source (or of several, merged), with their origins and problems."""

    settings: tuple[Setting, ...]
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    by_name: dict[str, Setting] = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {one.name: one for one in self.settings}

    def take(self, name: str, raw: object, place: str, *, text: bool) -> None:
        try:
            self.values[name] = self.by_name[name].read(raw, text=text)
        except Invalid as error:
            self.problems.append(f"{place} {error}")
            self.wrong.add(name)
        else:
            self.origins[name] = place

    def open(self, file: str) -> dict[str, object]:
        import tomllib  # imported only if there is a file

        try:
            return tomllib.loads(content(file).decode("utf-8"))
        except NotReadable as error:
            self.problems.append(f"the configuration file {file} {error}")
        except OSError as error:
            self.problems.append(f"the configuration file {file}: {error.strerror}")
        except UnicodeDecodeError as error:
            self.problems.append(f"{file} is not UTF-8 text (byte {error.start})")
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{file} is not TOML: {error}")
        except RecursionError:
            self.problems.append(f"{file} is nested too deeply")
        # The file may set any of them.
        self.wrong |= self.by_name.keys()
        return {}

    def take_table(
        self,
        table: Mapping[str, object],
        place: str,
        *,
        top: bool = True,
        others: tuple[str, ...] = (_ENVIRONMENTS, _WEB, _PERIODIC),
    ) -> None:
        for key, raw in table.items():
            if key in self.by_name and (top or key != "environment"):
                self.take(key, raw, place + key, text=False)
            elif key in self.by_name:
                self.problems.append(f"{place}{key} cannot be set inside an environment")
            else:
                known = [*self.by_name, *(others if top else (_PERIODIC,))]
                self.problems.append(f"{place}{key} is not a setting{_guess(key, known)}")

    def take_sections(self, table: dict[str, object], file: str | None) -> dict[str, _Layer]:
        """Remove ``environments`` from *table*; one layer for each, so that all are checked."""
        content = table.pop(_ENVIRONMENTS, {})
        layers: dict[str, _Layer] = {}
        for name, section in content.items() if isinstance(content, dict) else ():
            layers[name] = _Layer(self.settings)
            if isinstance(section, dict):
                place = f"{file}: {_ENVIRONMENTS}.{name}."
                layers[name].take_table(section, place, top=False)
            else:
                content = None
        if not isinstance(content, dict):
            self.problems.append(
                f"{file}: {_ENVIRONMENTS} must hold sections like [{_ENVIRONMENTS}.production]"
            )
        return layers

    def take_variables(self, environment: Mapping[str, str]) -> None:
        for one in self.settings:
            # An empty variable counts as not set: container tools often cannot unset one.
            variable = next((name for name in one.env if environment.get(name)), None)
            if variable is not None:
                raw = environment[variable]
                words: object = raw.split() if one.repeatable else raw
                self.take(one.name, words, f"${variable}", text=True)

    def take_flags(self, flags: Mapping[str, object]) -> None:
        for name, raw in flags.items():
            if raw is not None and raw != ():
                self.take(name, raw, "/".join(self.by_name[name].flags), text=True)


def _guess(key: str, known: list[str]) -> str:
    close = meant(key, known)
    return f"; did you mean {close}?" if close else ""


class NotReadable(Exception):
    """The path is not a regular file, or the file is too large; the text says which."""


def content(file: str) -> bytes:
    """The bytes of *file*. Never blocks, because the master reads the file at a reload.

    Raises:
        OSError, NotReadable: the file cannot be read.
    """
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotReadable("is not a regular file")
        content = os.read(fd, _MOST_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > _MOST_BYTES:
        raise NotReadable(f"is larger than {_MOST_BYTES:,} bytes")
    return content


def _absolute(config: Config, base: Path | None) -> Config:
    """*config* with its paths made absolute."""
    try:
        directory = workdir.here() / _from_home(config.directory)
        base = (base or Path.cwd()) / _from_home(config.directory)
    except FileNotFoundError:
        raise ConfigError(
            "the working directory no longer exists; change to one that does"
        ) from None
    paths: dict[str, Any] = {
        one.name: str(base / _from_home(value))
        for one in SETTINGS
        if one.path and (value := getattr(config, one.name))
    }
    if config.directory:
        paths["directory"] = str(directory)
    return replace(config, **paths)


def _from_home(path: str) -> Path:
    """Expand ``~`` and ``~user``; as in a shell, an unknown user is left unchanged."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _sentence(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} settings are wrong:\n" + "\n".join(f"  {one}" for one in problems)
