"""Class name, message and traceback of an exception, even if the exception's own code raises."""

from __future__ import annotations

from types import TracebackType

from jobd.text.printable import cut, valid

MAX_MESSAGE = 10_000
"""Characters of an exception's message that are kept."""

MAX_CLASS = 500
"""Characters of its class's name that are kept."""


def message_of(error: BaseException) -> str:
    """The message of *error*, as valid text of at most :data:`MAX_MESSAGE` characters."""
    try:
        text = str.__str__(str(error))  # str(error) may return a subclass of str
    except BaseException as second:  # noqa: BLE001 - broken code of the application
        text = f"(no message: {class_of(error)}.__str__ raised {class_of(second)})"
    return text[:MAX_MESSAGE].encode(errors="replace").decode()


def class_of(error: BaseException) -> str:
    """The qualified name of the class of *error*.

    >>> class_of(KeyError()), class_of(PayloadError())
    ('KeyError', 'jobd.errors.PayloadError')
    """
    # Bypasses the attributes of the class and its metaclass, which may raise or return anything.
    kind = type(error)
    module, name = _MODULE.__get__(kind), _QUALNAME.__get__(kind)
    if module != "builtins" and type(module) is str:
        name = f"{module}.{name}"
    return valid(cut(name, MAX_CLASS))


_MODULE, _QUALNAME = type.__dict__["__module__"], type.__dict__["__qualname__"]
_TRACEBACK = BaseException.__dict__["__traceback__"]
_CAUSE = BaseException.__dict__["__cause__"]


def traceback_of(error: BaseException) -> TracebackType | None:
    """The traceback of *error*, even if its class overrides ``__traceback__``."""
    found: TracebackType | None = _TRACEBACK.__get__(error)
    return found


def cause_of(error: BaseException) -> BaseException | None:
    """Its ``__cause__``, whatever its class makes of it."""
    found: BaseException | None = _CAUSE.__get__(error)
    return found
