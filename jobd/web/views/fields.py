"""A form for the arguments of a job, made from the type hints of its function.

Each parameter becomes one field: a number, a choice, text, or JSON where nothing simpler carries
its type. What comes back is checked against the hints, so that a wrong value is refused where it
was typed and not by a worker. Values that nobody has touched stay exactly as they were.
"""

from __future__ import annotations

import enum
import inspect
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from jobd.errors import ArgumentError
from jobd.jobs.registry import Definition
from jobd.text.translatable import Text
from jobd.web.http_errors import said_by
from jobd.web.views.jobview import as_json
from jobd.web.views.present import clip

Kind = Literal["text", "integer", "number", "choice", "json"]

_KINDS: Mapping[object, tuple[Kind, type]] = {
    str: ("text", str),
    int: ("integer", int),
    float: ("number", float),
}
_BOOLEANS = ("true", "false")
_UNKNOWN = object()


@dataclass(slots=True)
class Field:
    """One parameter.

    Attributes:
        kind: how it is typed in.
        hint: its type, for people.
        text: what is in the field.
        is_null, nullable: whether it is None, and may be.
        default: what it is when it is left out, for people; None if it may not be left out.
        is_left_out: whether it is.
        choices: of a choice, as JSON.
        error: what is wrong with what was typed.
    """

    name: str
    kind: Kind
    hint: str
    text: str
    is_null: bool
    nullable: bool
    default: str | None
    is_left_out: bool
    choices: tuple[str, ...]
    error: str
    _type: object
    _original: object


def bind(
    definition: Definition, args: Sequence[object], kwargs: Mapping[str, object]
) -> Mapping[str, object]:
    """The arguments by the names of the parameters that they are for, as in a push by the code.

    Raises:
        ArgumentError: they do not fit.
    """
    try:
        return definition.signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise ArgumentError(
            Text(
                "the arguments do not fit %(job)s: %(detail)s",
                job=definition.name,
                detail=str(error),
            )
        ) from None


class Form:
    """The fields of one job.

    Args:
        definition: of the job, as this process knows it.
        args, kwargs: what it was called with.

    Raises:
        ArgumentError: they do not fit the function, or it takes any number of arguments; then
            JSON is what is left.
    """

    def __init__(
        self, definition: Definition, args: list[object], kwargs: Mapping[str, object]
    ) -> None:
        self._signature = definition.signature
        parameters = self._signature.parameters.values()
        if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
            raise ArgumentError(Text("%(job)s takes any arguments", job=definition.name))
        bound = bind(definition, args, kwargs)
        self._named = set(kwargs)
        hints = _hints(definition)
        self.fields = [
            _field(each, hints.get(each.name, Any), bound.get(each.name, _UNKNOWN))
            for each in parameters
        ]

    def take(self, given: Mapping[str, str]) -> None:
        """Fill in what somebody has typed."""
        for field in self.fields:
            text = given.get(f"arg-{field.name}", "").replace("\r\n", "\n")
            field.is_left_out = field.default is not None and f"default-{field.name}" in given
            field.is_null = field.nullable and f"null-{field.name}" in given
            if text != field.text.replace("\r\n", "\n"):
                field.text, field._original = text, _UNKNOWN

    def values(self) -> tuple[list[object], dict[str, object]]:
        """Positional and keyword arguments as they are in the fields.

        Raises:
            ArgumentError: some are wrong; their fields say why.
        """
        args: list[object] = []
        kwargs: dict[str, object] = {}
        gap = False
        for field in self.fields:
            parameter = self._signature.parameters[field.name]
            if field.is_left_out:
                gap = True  # what follows goes by name
                continue
            value = self._value(field)
            by_name = field.name in self._named or parameter.kind is parameter.KEYWORD_ONLY or gap
            if by_name and parameter.kind is not parameter.POSITIONAL_ONLY:
                kwargs[field.name] = value
                gap = True
            else:
                args.append(value)
        if any(field.error for field in self.fields):
            raise ArgumentError(Text("some arguments do not fit the job"))
        return args, kwargs

    def _value(self, field: Field) -> object:
        field.error = ""
        if field.is_null:
            return None
        if field._original is not _UNKNOWN and field._original is not None:
            return field._original
        try:
            value = _parsed(field)
            _check(value, field._type)
        except ValueError as error:
            field.error = said_by(error)
            return None
        return value


def _hints(definition: Definition) -> dict[str, object]:
    """The types of the parameters, without those that cannot be found out."""
    try:
        return get_type_hints(definition.body)
    except (NameError, TypeError, AttributeError, SyntaxError):
        named = definition.signature.parameters.items()
        return {name: each.annotation for name, each in named if isinstance(each.annotation, type)}


def _field(parameter: inspect.Parameter, hint: object, value: object) -> Field:
    nullable, inner = _without_none(hint)
    kind, choices = _kind(inner)
    given = value is not _UNKNOWN
    shown = value
    if not given:
        shown = parameter.default
    # A value that is of another type than the hint says keeps its own.
    if shown is not None and shown is not parameter.empty and not _fits(shown, kind, choices):
        kind, choices = "json", ()
    must = parameter.default is parameter.empty
    is_null = shown is None and nullable
    return Field(
        name=parameter.name,
        kind=kind,
        hint="" if hint in (Any, parameter.empty) else inspect.formatannotation(hint),
        text="" if is_null else _text(shown, kind),
        is_null=is_null,
        nullable=nullable,
        default=None if must else clip(repr(parameter.default), 100),
        is_left_out=not given,
        choices=choices,
        error="",
        _type=hint if hint is not parameter.empty else Any,
        _original=value,
    )


def _without_none(hint: object) -> tuple[bool, object]:
    """Whether None is allowed, and the type beside it."""
    if get_origin(hint) in (Union, types.UnionType):
        rest = [each for each in get_args(hint) if each is not types.NoneType]
        if len(rest) < len(get_args(hint)):
            return True, rest[0] if len(rest) == 1 else Any
    return False, hint


def _kind(hint: object) -> tuple[Kind, tuple[str, ...]]:
    if hint is bool:
        return "choice", _BOOLEANS
    if get_origin(hint) is Literal:
        return "choice", tuple(as_json(each) for each in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "choice", tuple(as_json(each.value) for each in hint)
    found = _KINDS.get(hint) if isinstance(hint, type) else None
    return (found[0] if found else "json"), ()


def _fits(value: object, kind: Kind, choices: tuple[str, ...]) -> bool:
    match kind:
        case "choice":
            return as_json(value) in choices
        case "integer":
            return type(value) is int
        case "number":
            return type(value) in (int, float)
        case "text":
            return type(value) is str
        case _:
            return True


def _text(value: object, kind: Kind) -> str:
    return value if kind == "text" and isinstance(value, str) else as_json(value)


def _parsed(field: Field) -> object:
    """What was typed as a value.

    Raises:
        ValueError: it is none; the text says what is wanted.
    """
    text = field.text
    match field.kind:
        case "text":
            return text
        case "integer":
            try:
                return int(text.strip())
            except ValueError:
                raise ValueError(Text("enter a whole number")) from None
        case "number":
            try:
                number = float(text.strip())
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise ValueError(Text("enter a number"))
            return number
        case "choice" if text not in field.choices:
            raise ValueError(Text("enter one of: %(choices)s", choices=", ".join(field.choices)))
        case _:
            return parse_json(text)


def parse_json(text: str) -> object:
    """
    Raises:
        ValueError: *text* is no JSON; the text says what is wrong.

    >>> parse_json('[1, {"a": null}]')
    [1, {'a': None}]
    """
    if not text.strip():
        raise ValueError(Text('enter JSON, such as null, 7, "text" or [1, 2]'))
    try:
        return msgspec.json.decode(text.encode(errors="replace"))
    except RecursionError:
        raise ValueError(Text("it is nested too deeply")) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(Text("this is not JSON: %(detail)s", detail=str(error))) from None


def _check(value: object, hint: object) -> None:
    """
    Raises:
        ValueError: *value* is not of that type; the text says where.
    """
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except (TypeError, RecursionError):
        return  # a type of the application's own, which JSON does not have
