"""Description of a setting: name, type, default, unit, help text, and validation of its value.

The settings are the fields of :class:`jobd.settings.daemon.Config`; flags, environment variables,
the file, ``jobd check`` and the reference page are derived from these descriptions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from jobd.text.printable import shown
from jobd.wire.options import QUEUE_NAME

_LONGEST_OBJECTIVE = 604_800
"""Seconds, a week."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


T = TypeVar("T")


class Invalid(ValueError):
    """A value is invalid; the text continues a sentence that begins with its place."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue to serve. A *weight* of 0 means that none was given."""

    name: str
    weight: int = 0

    def __str__(self) -> str:
        return f"{self.name},{self.weight}" if self.weight else self.name


@dataclass(frozen=True, slots=True)
class Objective:
    """Within how many *seconds* the jobs of a *queue* are to start."""

    queue: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.queue}={self.seconds:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The description of a field of Config. *type* is the field's annotation;
    a *fixed* setting cannot change at a reload."""

    name: str
    type: str
    default: object
    help: str
    unit: str
    flags: tuple[str, ...]
    env: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    path: bool
    check: Callable[[object], object] | None
    metavar: str
    fixed: bool

    @property
    def repeatable(self) -> bool:
        return self.type.startswith("tuple")

    @property
    def switch(self) -> bool:
        return self.type == "bool"

    @property
    def default_text(self) -> str:
        """The default as text for a flag or variable; "" for none."""
        if isinstance(self.default, tuple):
            return " ".join(map(str, self.default))
        if self.switch:
            return show(self.default)
        return f"{self.default:.15g}" if isinstance(self.default, float) else str(self.default)

    def read(self, raw: object, *, text: bool) -> object:
        """Convert and validate *raw*.

        Args:
            raw: the value in the file, a variable or a flag.
            text: whether numbers are given as text (variables and flags) or as numbers (TOML).

        Raises:
            Invalid: with the reason.
        """
        if self.repeatable:
            items = (raw,) if isinstance(raw, str) else raw
            if self.type == "tuple[Objective, ...]":
                return read_objectives(items)
            if not isinstance(items, list | tuple):
                raise Invalid(f"must be a list, not {show(raw)}")
            read_item = read_queue if self.type == "tuple[QueueSpec, ...]" else self._read_text
            value = tuple(read_item(item) for item in items)
            _refuse_twice([one.name for one in value if isinstance(one, QueueSpec)])
            if not value and self.default:
                raise Invalid("must not be empty")
            return value
        if self.type == "str":
            return self._read_text(raw)
        if self.switch:
            return read_switch(raw, text=text)
        return self._read_number(raw, text=text)

    def _read_text(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise Invalid(f"must be text in quotes, not {_kind(raw)}")
        # The value is not shown: it may contain a password.
        if not _is_text(raw):
            raise Invalid("is not valid UTF-8 text")
        if shown(raw) != raw:
            raise Invalid("must not contain control characters")
        if self.choices and raw not in self.choices:
            raise Invalid(f"must be one of {', '.join(self.choices)}, not {show(raw)}")
        if self.check is not None:
            self.check(raw)
        return raw

    def _read_number(self, raw: object, *, text: bool) -> int | float:
        whole = self.type == "int"
        value = _number(raw, whole=whole) if text and isinstance(raw, str) else raw
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            kind = "a whole number" if whole else "a number"
            hint = ", without quotes" if isinstance(raw, str) and not text else ""
            raise Invalid(f"must be {kind}{hint}, not {show(raw)}")
        # An integer may be too large for a float; the bounds below catch it.
        if isinstance(value, float) and not math.isfinite(value):
            raise Invalid(f"must be a finite number, not {show(raw)}")
        if self.minimum is not None and value < self.minimum:
            raise Invalid(f"must be at least {self.minimum:g}, not {show(raw)}")
        if self.maximum is not None and value > self.maximum:
            raise Invalid(f"must be at most {self.maximum:g}, not {show(raw)}")
        if self.check is not None:
            self.check(value)
        return value if whole else float(value)


def setting(
    default: T,
    help: str,  # same name as in the metadata
    *flags: str,
    unit: str = "",
    env: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    path: bool = False,
    check: Callable[[Any], object] | None = None,
    metavar: str = "",
    fixed: bool = False,
) -> T:
    """A dataclass field with the description of a setting as metadata.

    The default for *flags* is the field's name, that for *env* ``JOBD_NAME``. A *fixed* setting
    cannot change while the daemon runs.
    """
    metadata: Mapping[str, object] = {
        "help": help,
        "unit": unit,
        "flags": flags,
        "env": env,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "path": path,
        "check": check,
        "metavar": metavar,
        "fixed": fixed,
    }
    return field(default=default, metadata=metadata)


def describe(cls: type) -> tuple[Setting, ...]:
    """The settings of a dataclass: its fields that were made with :func:`setting`, in order."""
    return tuple(_describe(one) for one in fields(cls) if "help" in one.metadata)


def _describe(one: Field[object]) -> Setting:
    metadata = dict(one.metadata)
    metadata["flags"] = metadata["flags"] or ("--" + one.name.replace("_", "-"),)
    metadata["env"] = metadata["env"] or (f"JOBD_{one.name.upper()}",)
    default = None if one.default is MISSING else one.default
    return Setting(name=one.name, type=str(one.type), default=default, **metadata)


def read_queue(raw: object) -> QueueSpec:
    """A queue as ``"name"``, ``"name,weight"`` or ``["name", weight]``."""
    if isinstance(raw, QueueSpec):
        return raw
    if isinstance(raw, str):
        name, comma, weight = raw.rpartition(",")
        words = raw.replace(",", " ").split()
        if len(words) > 2 or (len(words) == 2 and not _number_like(words[1])):
            raise Invalid(_several(raw, words))
        if not comma:
            return QueueSpec(queue_name(raw))
        if not weight.strip():
            raise Invalid(
                f"has nothing after the comma in {show(raw)}: a weight belongs there, as in "
                'mail,2, and a space between queues, as in JOBD_QUEUES="mail low"'
            )
        if not _WHOLE.fullmatch(weight.strip()):
            raise Invalid(
                f"has {show(weight)} as a weight in {show(raw)}; it must be a whole number"
            )
        return _weighted(name, int(weight))
    if isinstance(raw, list | tuple) and len(raw) == 2 and isinstance(raw[0], str):
        if not isinstance(raw[1], int) or isinstance(raw[1], bool):
            raise Invalid(f"has {show(raw[1])} as the weight of {show(raw[0])}")
        return _weighted(raw[0], raw[1])
    raise Invalid(f'must hold "name", "name,weight" or ["name", weight], not {show(raw)}')


def read_objectives(raw: object) -> tuple[Objective, ...]:
    """Objectives as a table of queues to seconds, or a list of texts ``queue=seconds``."""
    if isinstance(raw, Mapping):
        found = tuple(_objective(str(name), seconds) for name, seconds in raw.items())
    elif isinstance(raw, list | tuple):
        found = tuple(one if isinstance(one, Objective) else _objective_of_text(one) for one in raw)
    else:
        raise Invalid(f"must be a table like {{ default = 30 }}, not {show(raw)}")
    _refuse_twice([one.queue for one in found])
    return found


def _objective_of_text(raw: object) -> Objective:
    name, equals, seconds = str(raw).rpartition("=")
    if not isinstance(raw, str) or not equals:
        raise Invalid(f"must hold QUEUE=SECONDS, as in default=30, not {_kind(raw)}")
    return _objective(name, _number(seconds, whole=False))


def _objective(name: str, seconds: object) -> Objective:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Invalid(f"has {_kind(seconds)} for {show(name)}; it must be a number of seconds")
    if not 0 < seconds <= _LONGEST_OBJECTIVE:
        raise Invalid(
            f"has {show(seconds)} seconds for {show(name)}; they must be more than 0 and at most "
            f"{_LONGEST_OBJECTIVE:,}"
        )
    return Objective(queue_name(name), float(seconds))


def _number_like(word: str) -> bool:
    return word.lstrip("+-").replace(".", "", 1).isdecimal()


def _several(raw: str, words: list[str]) -> str:
    """Error message for *raw*, which holds several queues or weights, with the correct notation."""
    entries: list[str] = []
    for word in words:
        if _number_like(word) and entries and "," not in entries[-1]:
            entries[-1] += f",{word}"
        else:
            entries.append(word)
    flags = " ".join(f"-q {entry}" for entry in entries)
    items = ", ".join(f'"{entry}"' for entry in entries)
    return shown(
        f"has several queues in one entry, {show(raw)}: give each its own, {flags}, "
        f'JOBD_QUEUES="{" ".join(entries)}" or queues = [{items}]'
    )


def read_switch(raw: object, *, text: bool) -> bool:
    """True or false; *text* may also be yes, no, 1 or 0."""
    value = _SWITCH.get(raw.strip().lower()) if text and isinstance(raw, str) else raw
    if not isinstance(value, bool):
        raise Invalid(f"must be true or false, not {show(raw)}")
    return value


def queue_name(name: str) -> str:
    """*name*, if it is a valid queue name.

    Raises:
        Invalid: with the reason.
    """
    if not name:
        raise Invalid("has an empty queue name")
    if not QUEUE_NAME.fullmatch(name):
        raise Invalid(
            f"has the queue name {show(name)}; a name may hold only the letters a-z and A-Z, "
            "digits and the signs _ : . - (a weight follows a comma: mail,2)"
        )
    return name


def _kind(raw: object) -> str:
    """*raw* for an error message; only the type of a container, which may hold a password."""
    return f"a {type(raw).__name__}" if isinstance(raw, list | tuple | dict) else show(raw)


def _is_text(raw: str) -> bool:
    """Whether *raw* can be encoded: bytes of a variable or flag that are not UTF-8 arrive as lone
    surrogates."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_empty(text: str) -> None:
    if not text.strip():
        raise Invalid("must not contain an empty text")


def never_or_seconds(value: float) -> None:
    """Refuse a timeout that a healthy process would exceed: its heartbeat is once a second."""
    if 0 < value < 3:
        raise Invalid(f"must be 0 or at least 3, not {value:g}")


def no_spaces(text: str) -> None:
    if not text or " " in text:
        raise Invalid(f"must not be empty or contain spaces: {show(text)}")


def show(value: object) -> str:
    """*value* for a message: text in double quotes, at most 80 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value = '"' + value.encode("unicode_escape").decode("ascii") + '"'
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _weighted(name: str, weight: int) -> QueueSpec:
    if weight < 0:
        raise Invalid(f"has the weight {weight} for {show(name)}; it must be at least 0")
    return QueueSpec(queue_name(name), weight)


def _refuse_twice(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"names the queue {show(name)} twice")


def _number(text: str, *, whole: bool) -> int | float | str:
    """The number, or *text* itself if it is not a number."""
    # Allows the whitespace that `$(cat FILE)` may leave, but not all that int() and float() accept.
    bare = text.strip(" \t\r\n")
    if whole:
        return int(bare) if _WHOLE.fullmatch(bare) else text
    try:
        return float(bare) if bare.isprintable() else text
    except ValueError:
        return text
