"""jobd: background jobs for Python, in the data format of Sidekiq.

These are the names that applications use, :mod:`jobd.public`; everything else is the daemon. They
are loaded when the first of them is asked for: the master, which imports no Redis client, and
``jobd --help`` need none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobd.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    public = import_module("jobd.public")
    if name not in public.__all__:
        raise AttributeError(f"module 'jobd' has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    return list(import_module("jobd.public").__all__)
