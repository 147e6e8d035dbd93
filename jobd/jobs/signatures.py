"""A call and the signature of its function: whether it fits, and what makes it unique.

Both are looked at by the push: a worker would find a mistake too, but hours later and 25 times.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence

from jobd.errors import ArgumentError
from jobd.jobs.registry import Definition, UniqueBy

_NOTHING: Mapping[str, object] = {}
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """The parameters of a job.

    Attributes:
        names: of those that take positional arguments.
    """

    __slots__ = ("_definition", "_least", "_most", "names")

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        parameters = definition.signature.parameters.values()
        positional = [each for each in parameters if each.kind in _POSITIONAL]
        self.names = [each.name for each in positional]
        self._least: float = sum(each.default is each.empty for each in positional)
        self._most: float = len(positional)
        if any(each.kind is each.VAR_POSITIONAL for each in parameters):
            self._most = math.inf
        if any(
            each.kind is each.KEYWORD_ONLY and each.default is each.empty for each in parameters
        ):
            self._least = math.inf  # positional arguments alone are never enough

    def check(self, args: Sequence[object], kwargs: Mapping[str, object] = _NOTHING) -> None:
        """Check one call.

        Raises:
            ArgumentError: the arguments do not fit the signature.
        """
        if not kwargs and self._least <= len(args) <= self._most:
            return  # a fast path: binding takes ten times as long
        definition = self._definition
        try:
            definition.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(
                f"{definition.name}: {error}; its signature is {definition.signature}"
            ) from None

    def identity(self, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        """What makes a call unique: its arguments by the names of their parameters, with defaults
        filled in; or what ``unique_by`` makes of them.

        Raises:
            ArgumentError: the function in ``unique_by`` has raised an exception.
        """
        by, name = self._definition.unique_by, self._definition.name
        if callable(by):
            try:
                return by(*args, **kwargs)
            except Exception as error:
                raise ArgumentError(
                    f"{name}: unique_by raised {type(error).__name__}: {error}; nothing was pushed"
                ) from error
        bound = self._definition.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments if by is None else [bound.arguments[each] for each in by]


def identity_by_name(args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """What makes a push by name unique, whose signature is unknown: the arguments as given."""
    return [args, kwargs] if kwargs else args


def check_unique_by(what: str, by: UniqueBy, signature: inspect.Signature) -> UniqueBy:
    """*by*, if it suits the *signature*, as a tuple of names or a function.

    Raises:
        ArgumentError: it names something that is not a parameter, or is neither.
    """
    if by is None or callable(by):
        return by
    names = (by,) if isinstance(by, str) else tuple(by)
    for name in names:
        if name not in signature.parameters:
            raise ArgumentError(
                f"{what}: unique_by names {name!r}, which is not one of its parameters: "
                f"{', '.join(signature.parameters) or 'it has none'}"
            )
    return names
