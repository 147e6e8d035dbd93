"""The check of a call against the signature of its function, at the push.

A worker would find the mistake too, but hours later and 25 times.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence

from jobd.errors import ArgumentError
from jobd.jobs.registry import Definition

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
