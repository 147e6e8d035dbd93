"""Which pidfile a command is about: the flag's, the variable's, the configuration's, or the usual.

A mistake in the configuration must not take jobctl away, for a running daemon, which has read it
before that, may have to be stopped just then. So the name of the pidfile is looked for in a file
that is wrong elsewhere as well. Nothing is guessed, for that might be another daemon's: where some
line could be about the pidfile and is not plain, the mistake is reported and nothing done.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from pathlib import Path

from jobd.errors import ConfigError
from jobd.settings.daemon import DEFAULT_PIDFILE
from jobd.settings.load import NotReadable, content, find_file, read

# Also behind what nobody meant to be there: an invisible mark, a bit of a diff. Not in a comment.
_FIRST_WORD = re.compile(r"[^\w.#-]*([\w.-]+)")
_LONG_STRING = re.compile("\"{3}|'{3}")
_ALIKE = 0.6
"""Likeness above which a word may be a mistyped name."""


class _Unsure(Exception):
    """The file says something that may be about the setting, and cannot be understood."""


def pidfile(
    given: str | None,
    config: str | None,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> Path:
    """The pidfile's path.

    Args:
        given: by ``--pidfile``.
        config: the configuration given by ``--config``.
        warn: told, in a sentence, of a configuration that is wrong, and what is gone by instead.

    Raises:
        ConfigError: the configuration is wrong, and does not plainly say which pidfile it means.
    """
    if given:
        return Path(given)
    file = find_file(config, environment)
    reading = read(file, environment, {})
    if not reading.problems:
        return Path(reading.config.pidfile or DEFAULT_PIDFILE)
    others = len(reading.problems) - 1
    problem = reading.problems[0] + (f" (and {others} more)" if others else "")
    try:
        path = _plainly_named(file, environment)
    except _Unsure as reason:
        raise ConfigError(f"{problem}; {reason}") from None
    warn(f"{problem}; going by the pidfile {path} all the same (-P names another)")
    return path


def _plainly_named(file: str | None, environment: Mapping[str, str]) -> Path:
    text = _text(file) if file else ""
    flags: dict[str, object] = {}
    if not environment.get("JOBD_PIDFILE"):
        flags["pidfile"] = _top_level(text, "pidfile")
    named = str(environment.get("JOBD_PIDFILE") or flags["pidfile"] or DEFAULT_PIDFILE)
    if not named.startswith(("/", "~")) and not environment.get("JOBD_DIRECTORY"):
        flags["directory"] = _top_level(text, "directory")
    reading = read(None, environment, flags)
    if reading.wrong & {"pidfile", "directory"}:
        raise _Unsure("so it is not known which pidfile is meant")
    return Path(reading.config.pidfile or DEFAULT_PIDFILE)


def _text(file: str) -> str:
    try:
        return content(file).decode()
    except (OSError, NotReadable, UnicodeDecodeError):
        raise _Unsure("so it is not known which pidfile it names") from None


def _top_level(text: str, name: str) -> str | None:
    """What *text*, which may be TOML with mistakes, has at its top level for *name*; None if none
    of its lines is about that.

    >>> _top_level('queues = [\\npidfile = "/run/shop.pid"', "pidfile")
    '/run/shop.pid'
    >>> _top_level('queues = [\\npidfil = "/run/shop.pid"', "pidfile")
    Traceback (most recent call last):
    ...
    jobctl.daemon.lookup._Unsure: its line 2 leaves open which pidfile it means
    """
    found: list[str] = []
    # Its lines look like any others.
    unclear = _LONG_STRING.search(text) is not None
    for number, line in enumerate(text.splitlines(), 1):
        unclear = unclear or line.lstrip().startswith("[")
        match = _FIRST_WORD.match(line)
        if match is None or not (name in line or _alike(match[1], name)):
            continue
        value = None if unclear or found or match[1] != name else _value(line, name)
        if value is None:
            raise _Unsure(f"its line {number} leaves open which {name} it means")
        found.append(value)
    return found[0] if found else None


def _alike(word: str, name: str) -> bool:
    return SequenceMatcher(None, word.lower(), name).ratio() >= _ALIKE


def _value(line: str, name: str) -> str | None:
    try:
        value = tomllib.loads(line)[name]
    except tomllib.TOMLDecodeError:
        return None
    return value if isinstance(value, str) else None
