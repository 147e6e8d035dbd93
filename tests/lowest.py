"""``python -m tests.lowest``: requirements for pip, the lowest version of all that users install.

The lower bounds are written in setup.py and nowhere else; here they are read from the metadata of
the installed package. What only tests and benchmarks need is left to pip: the newest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import requires

OF_USERS = ("web", "dev", "testing", "tui")
"""Extras that the manual tells users to install."""


def pins(requirements: Iterable[str]) -> Iterator[str]:
    """``name==version`` for each lower bound.

    >>> list(pins(["redis[hiredis]<9,>=5.2", 'rich>=13; extra == "dev"']))
    ['redis==5.2', 'rich==13']
    """
    for line in requirements:
        versions, _, marker = line.partition(";")
        extra = re.search(r"extra == \W(\w+)", marker)
        if extra is None or extra[1] in OF_USERS:
            if not (found := re.match(r"([\w.-]+).*>=([\w.]+)", versions)):
                raise ValueError(f"this requirement has no lower bound: {line}")
            yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print(*sorted(set(pins(requires("pyjobd") or ()))), sep="\n")
