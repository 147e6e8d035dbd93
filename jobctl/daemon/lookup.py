"""Determines the pidfile for a command: from the flag, the variable, the configuration, or the
default.

An error in the configuration must not disable jobctl, because the running daemon may have to be
stopped just then. So the pidfile is also looked up in a file that is invalid elsewhere. It is never
guessed, since it could be another daemon's: if a line that may set the pidfile is unclear, the
error is reported and nothing is done.
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

# Also after stray characters, such as an invisible mark or a part of a diff. Not in a comment.
_FIRST_WORD = re.compile(r"[^\w.#-]*([\w.-]+)")
_LONG_STRING = re.compile("\"{3}|'{3}")
_ALIKE = 0.6
"""Similarity from which a word may be a mistyped name."""


class _Unsure(Exception):
    """The file contains something that may set the pidfile but cannot be parsed."""


def pidfile(
    given: str | None,
    config: str | None,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> Path:
    """The pidfile's path.

    Args:
        given: the value of ``--pidfile``.
        config: the value of ``--config``.
        warn: called with a message if the configuration is invalid, with the pidfile used.

    Raises:
        ConfigError: the configuration is invalid and does not clearly name the pidfile.
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
    warn(f"{problem}; using the pidfile {path} nevertheless (-P sets another)")
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
        raise _Unsure("so the pidfile is unknown")
    return Path(reading.config.pidfile or DEFAULT_PIDFILE)


def _text(file: str) -> str:
    try:
        return content(file).decode()
    except (OSError, NotReadable, UnicodeDecodeError):
        raise _Unsure("so the pidfile is unknown") from None


def _top_level(text: str, name: str) -> str | None:
    """The value of *name* at the top level of *text*, which may be invalid TOML; None if no line
    sets it.

    >>> _top_level('queues = [\\npidfile = "/run/shop.pid"', "pidfile")
    '/run/shop.pid'
    >>> _top_level('queues = [\\npidfil = "/run/shop.pid"', "pidfile")
    Traceback (most recent call last):
    ...
    jobctl.daemon.lookup._Unsure: the pidfile in line 2 is unclear
    """
    found: list[str] = []
    # Lines inside a multi-line string look like settings.
    unclear = _LONG_STRING.search(text) is not None
    for number, line in enumerate(text.splitlines(), 1):
        unclear = unclear or line.lstrip().startswith("[")
        match = _FIRST_WORD.match(line)
        if match is None or not (name in line or _alike(match[1], name)):
            continue
        value = None if unclear or found or match[1] != name else _value(line, name)
        if value is None:
            raise _Unsure(f"the {name} in line {number} is unclear")
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
