"""The layout: what may import what, read from the tree in docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/architecture.md").read_text()
LARGEST = 24
"""Files that one folder may hold."""


def _modules() -> dict[str, Path]:
    """Every module of ours by its dotted name; a package is its ``__init__``."""
    found = {}
    for file in [*ROOT.glob("jobd/**/*.py"), *ROOT.glob("jobctl/**/*.py")]:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = file
    return found


MODULES = _modules()


@cache
def _imports(name: str) -> set[str]:
    """The modules that one imports anywhere: at its top, in functions, for type checks."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else str(node.module))
    return (found & MODULES.keys()) - {name}


def _tree() -> list[str]:
    """The dotted names of the tree, in its order."""
    text = PAGE.partition("<!-- tree: begin -->")[2].partition("<!-- tree: end -->")[0]
    names, parents = [], [""] * 9
    for line in text.strip().strip("`").splitlines():
        if not (found := re.match(r"( *)(\w+)", line)):
            continue
        depth = len(found[1]) // 2
        parents[depth] = found[2]
        names.append(".".join(parents[: depth + 1]))
    return names


TREE = _tree()
LINES = [name for name in TREE if name == "jobctl" or re.fullmatch(r"jobd\.\w+", name)]
FACADES = {"jobd", "jobd.public", "jobd.__main__", "jobctl.__main__"}
"""They stand behind everything; nothing of ours imports them."""


def _line(name: str) -> int:
    """The place of a module in the tree."""
    if name in FACADES:
        return len(LINES)
    return LINES.index("jobctl" if name.startswith("jobctl") else ".".join(name.split(".")[:2]))


def test_the_tree_is_as_it_is_drawn() -> None:
    folders = {name for name, file in MODULES.items() if file.name == "__init__.py"}
    assert set(TREE) - {"jobd.errors", "jobd.version"} == folders


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_imports_upward(name: str) -> None:
    upward = [other for other in _imports(name) if _line(other) > _line(name)]
    assert not upward, f"{name} imports {upward}, which stand below it in docs/architecture.md"


def test_nothing_imports_in_a_circle() -> None:
    try:
        TopologicalSorter({name: _imports(name) for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_folder_is_crowded() -> None:
    folders = [file.parent for file in MODULES.values() if file.name != "__init__.py"]
    counts = Counter(map(str, folders))
    crowded = {folder: count for folder, count in counts.items() if count > LARGEST}
    assert not crowded
