"""What an exception is and says. Its class is the application's code, and may itself raise."""

from __future__ import annotations

from types import TracebackType

from jobd.text.printable import cut, valid

MAX_MESSAGE = 10_000
"""Characters of an exception's message that are kept."""

MAX_CLASS = 500
"""Characters of the name of its class."""


def message_of(error: BaseException) -> str:
    """What *error* says, as valid text of at most :data:`MAX_MESSAGE` characters."""
    try:
        text = str.__str__(str(error))  # which may be of a class of the application's own
    except BaseException as second:  # noqa: BLE001 - the application's code, and it is broken
        text = f"(no message: {class_of(error)}.__str__ raised {class_of(second)})"
    return text[:MAX_MESSAGE].encode(errors="replace").decode()


def class_of(error: BaseException) -> str:
    """
    >>> class_of(KeyError()), class_of(PayloadError())
    ('KeyError', 'jobd.errors.PayloadError')
    """
    # Neither the class nor its own class is asked: they may say anything, or raise.
    kind = type(error)
    module, name = _MODULE.__get__(kind), _QUALNAME.__get__(kind)
    if module != "builtins" and type(module) is str:
        name = f"{module}.{name}"
    return valid(cut(name, MAX_CLASS))


_MODULE, _QUALNAME = type.__dict__["__module__"], type.__dict__["__qualname__"]
_TRACEBACK = BaseException.__dict__["__traceback__"]


def traceback_of(error: BaseException) -> TracebackType | None:
    """Its traceback, also where its class has another idea of it."""
    found: TracebackType | None = _TRACEBACK.__get__(error)
    return found
