"""Error messages with suggestions for a ``-r`` (``require``) that does not exist."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path

_BEHIND = "only the name of a jobd.App may follow a colon"
_ELSEWHERE = "start jobd in the application's directory or set directory"


def module(name: str, base: Path, missing: str) -> str:
    """Why module *name* was not found; *missing* is *name* or the parent that is missing."""
    there = f"there is no module {missing} in {base} or elsewhere on the import path"
    if "," in name or " " in name:
        flags = " ".join(f"-r {one}" for one in name.replace(",", " ").split())
        return f"{there}; give each module its own -r: {flags}"
    if ":" in name:
        return f"{there}; {_BEHIND}: -r {name.partition(':')[0]}"
    above, _, last = name.rpartition(".")
    found = sys.modules.get(above)
    if found is not None and missing == name:
        if hasattr(found, last):
            kind = "a function or class" if callable(getattr(found, last)) else "something"
            return f"{last} is not a module, but {kind} in the module {above}: give -r {above}"
        if not hasattr(found, "__path__"):
            return f"the module {above} has no {last}; to load the module, give -r {above}"
    if (base / name).is_dir():
        return _directory(name)
    close = get_close_matches(missing, _modules(base), n=1)
    return f"{there}; " + (f"did you mean {close[0]}?" if close else _ELSEWHERE)


def file(name: str, base: Path, path: Path) -> str:
    """Why there is no file *path*, given as *name*."""
    if path.is_dir():
        return _directory(name)
    plain, _, rest = name.partition(":")
    if rest and (base / plain).is_file():
        return f"{_BEHIND}: -r {plain}"
    if path.with_name(f"{path.name}.py").is_file():
        return f"there is no file {path}; did you mean {name}.py?"
    dotted = name.removesuffix(".py")
    if "/" not in name and "." in dotted and (base / f"{dotted.replace('.', '/')}.py").is_file():
        return f"there is no file {path}; did you mean {dotted.replace('.', '/')}.py, or {dotted}?"
    return f"there is no file {path}"


def _directory(name: str) -> str:
    return (
        f"{name} is a directory; name a module in it, -r {Path(name).name}.NAME, or a file, "
        f"-r {name.rstrip('/')}/NAME.py"
    )


def _modules(base: Path) -> list[str]:
    """Names of the modules and packages directly in *base*."""
    try:
        names = {one.name.removesuffix(".py") for one in base.iterdir()}
    except OSError:
        return []
    return sorted(name for name in names if name.isidentifier())
