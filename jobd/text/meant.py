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
    parent, _, _ = missing.rpartition(".")
    if parent:
        paths = getattr(sys.modules.get(parent), "__path__", ())
        known = [f"{parent}.{one}" for path in paths for one in _modules(Path(path))]
    else:
        known = _modules(base)
    if close := get_close_matches(missing, known, n=1):
        return f"{there}; did you mean {close[0]}{name.removeprefix(missing)}?"
    if not parent and (directory := _holding(missing, base)):
        return f"{there}; there is one in {directory}: give --directory {directory.name}"
    return f"{there}; {_ELSEWHERE}"


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


def _holding(name: str, base: Path) -> Path | None:
    """A directory directly in *base* that holds a module or package *name*."""
    try:
        below = sorted(one for one in base.iterdir() if one.name[:1] not in "._" and one.is_dir())
    except OSError:
        return None
    for one in below:
        if (one / f"{name}.py").is_file() or (one / name / "__init__.py").is_file():
            return one
    return None


def _modules(base: Path) -> list[str]:
    """Names of the modules and packages directly in *base*."""
    try:
        names = {one.name.removesuffix(".py") for one in base.iterdir()}
    except OSError:
        return []
    return sorted(name for name in names if name.isidentifier())
