"""The setting ``JOBD`` of a Django project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from jobd.errors import ApplicationError
from jobd.jobs.app import App, default
from jobd.jobs.client import destination
from jobd.settings.schema import Invalid
from jobd.text.spelling import meant


@dataclass(frozen=True, slots=True)
class Options:
    """What ``JOBD`` says; the names there are in capitals.

    Attributes:
        redis: URL of the server; "" for that of the environment.
        prefix: of all keys; None for that of the environment.
        on_commit: whether pushes inside a transaction wait for its commit.
        on_commit_errors: what a push does that fails after the commit: ``"raise"``, or ``"log"``.
        database: the alias whose transactions pushes wait for.
        modules: modules with jobs that are not called ``jobs`` or belong to no app.
        app: the :class:`jobd.App` as ``module:name``; "" for the default one.
        carry: whether the language and the time zone travel with jobs.
    """

    redis: str = ""
    prefix: str | None = None
    on_commit: bool = True
    on_commit_errors: str = "raise"
    database: str = "default"
    modules: tuple[str, ...] = ()
    app: str = ""
    carry: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the setting.

    Attributes:
        number: of the system check.
        text: what is wrong.
        hint: what to do.
    """

    number: str
    text: str
    hint: str


Kind = Callable[[object], str | None]
"""What says what a value must be, unless it is that."""


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "a string"


def switch(value: object) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _names(value: object) -> str | None:
    fits = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    return None if fits else "a list of names of modules"


def _url(value: object) -> str | None:
    try:
        destination(str(value), "")
    except Invalid as error:
        return f"the URL of a Redis server: it {error}"
    return _text(value)


def _errors(value: object) -> str | None:
    return None if value in ("raise", "log") else '"raise" or "log"'


def _app(value: object) -> str | None:
    fits = isinstance(value, str) and value.rpartition(":")[2].isidentifier() and ":" in value
    return None if fits else 'a string like "shop.jobs:app"'


_KINDS: Mapping[str, Kind] = {
    "REDIS": _url,
    "PREFIX": _text,
    "ON_COMMIT": switch,
    "ON_COMMIT_ERRORS": _errors,
    "DATABASE": _text,
    "MODULES": _names,
    "APP": _app,
    "CARRY": switch,
}


def options_of(given: object, databases: Mapping[str, object]) -> tuple[Options, list[Problem]]:
    """The options in *given*, the value of the setting, with the defaults where it is wrong.

    Args:
        databases: the setting ``DATABASES``.

    Example:
        >>> options_of({"PREFIX": "shop:"}, {})[0].prefix
        'shop:'
    """
    if not isinstance(given, Mapping):
        text = f"JOBD must be a dict, not {type(given).__name__}"
        hint = 'for example JOBD = {"REDIS": "redis://127.0.0.1:6379/0"}'
        return Options(), [Problem("E001", text, hint)]
    values, problems = valid("JOBD", _KINDS, given)
    if "database" in values and values["database"] not in databases:
        known = ", ".join(databases) or "none"
        what = f"JOBD['DATABASE'] is {values.pop('database')!r}, which is not in DATABASES"
        problems.append(Problem("E004", what, f"the databases are {known}"))
    if "modules" in values:
        values["modules"] = tuple(values["modules"])
    return Options(**values), problems


def valid(
    setting: str, kinds: Mapping[str, Kind], given: Mapping[str, object]
) -> tuple[dict[str, Any], list[Problem]]:
    """What *given* has that *kinds* allow, by the names in small letters, and what is wrong."""
    values, problems = {}, []
    for name, value in given.items():
        if name not in kinds:
            near = meant(str(name), map(str.lower, kinds))
            hint = f"use {near.upper()}" if near else f"the names are {', '.join(kinds)}"
            problems.append(Problem("E002", f"{setting} has no option {name!r}", hint))
        elif wanted := kinds[name](value):
            what = f"{setting}[{name!r}] must be {wanted}"
            problems.append(Problem("E003", what, f"it is {value!r}"))
        else:
            values[name.lower()] = value
    return values, problems


def app_of(options: Options) -> App:
    """The application that the options name.

    Raises:
        ApplicationError: there is none, or it cannot be imported.
    """
    if not options.app:
        return default
    module, _, name = options.app.rpartition(":")
    what = f"JOBD['APP'] is {options.app!r}, but"
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ApplicationError(f"{what} {module} cannot be imported: {error}") from error
    if isinstance(found, App):
        return found
    raise ApplicationError(f"{what} {name} is not a jobd.App there")


def missing_modules(options: Options) -> list[Problem]:
    """A problem for each of the modules that cannot be found."""
    return [
        Problem("E006", f"JOBD['MODULES'] names {name!r}, which cannot be found", "as in import")
        for name in options.modules
        if not _exists(name)
    ]


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # of a package around it; of a module without a spec
        return module in sys.modules
