"""jobd: background jobs for Python, in the data format of Sidekiq.

These are the names that applications use, :mod:`jobd.public`; everything else is the daemon. They
are loaded when the first of them is asked for: the master, which imports no Redis client, and
``jobd --help`` need none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobd.public import *  # noqa: F403 - the same names, for type checkers
else:  # one that they saw would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(name)  # nothing is loaded to find out that there is no __path__
        public = import_module("jobd.public")
        if name not in ("__all__", *public.__all__):
            raise AttributeError(f"module 'jobd' has no attribute {name!r}")
        return getattr(public, name)


def __dir__() -> list[str]:
    return list(import_module("jobd.public").__all__)
