"""jobd: background jobs for Python, in the data format of Sidekiq.

It exports the public names of :mod:`jobd.public`; everything else belongs to the daemon. They are
loaded on first access, because the master, which imports no Redis client, and ``jobd --help`` do
not need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobd.public import *  # noqa: F403 - the same names, for type checkers
else:  # a type checker that saw this __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(name)  # a lookup of __path__ and the like loads nothing
        public = import_module("jobd.public")
        if name not in ("__all__", *public.__all__):
            raise AttributeError(f"module 'jobd' has no attribute {name!r}")
        return getattr(public, name)


def __dir__() -> list[str]:
    return list(import_module("jobd.public").__all__)
