"""The table of the 53 faults, README.md: each has a row, and each test that a row names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
NUMBERS = range(1, 54)

_ROW = re.compile(r"^\| (\d+) \|([^|]*)\|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    """The last column of each row, by its number."""
    found = _ROW.findall((HERE / "README.md").read_text())
    assert len(found) == len({number for number, _, _ in found}), "a number has two rows"
    return {int(number): proof for number, _, proof in found}


def functions_in(file: str) -> set[str]:
    """The names of the test functions in *file*, a path from here or from the checkout."""
    path = HERE / file if (HERE / file).exists() else CHECKOUT / file
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def numbered() -> Iterator[tuple[str, str, int]]:
    """Every test here whose name has a number."""
    for path in sorted(HERE.glob("test_*.py")):
        for name in sorted(functions_in(path.name)):
            if match := re.match(r"test_(\d\d)_", name):
                yield path.name, name, int(match[1])


def test_every_number_has_a_row() -> None:
    assert sorted(rows()) == list(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_row_names_a_test_that_exists_or_says_why_there_is_none(number: int) -> None:
    proof = rows()[number]
    named = _TEST.findall(proof)
    if not named:
        assert "cannot be run here" in proof, "neither a test nor a reason"
    for file, name in named:
        assert name in functions_in(file), f"{file} has no {name}"


def test_every_numbered_test_is_in_its_row() -> None:
    missing = [
        f"{file}::{name}"
        for file, name, number in numbered()
        if f"`{file}::{name}`" not in rows()[number]
    ]
    assert missing == []
