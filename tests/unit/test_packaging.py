"""A plain ``pip install jobd`` brings everything that the daemon and its tools import."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).parents[2]

MODULES = {"python-daemon": "daemon"}
"""Distributions whose module is not called as they are."""

OF_THE_DEMO = {"rich"}
"""What only `jobd demo` needs, which asks for the extra."""


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return found


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def test_what_is_imported_is_required(metadata: dict[str, Any]) -> None:
    required = set()
    for line in metadata["install_requires"]:
        name, *extras = re.findall(r"[a-z][a-z-]+", re.split("[<>=]", line)[0])
        required |= {MODULES.get(name, name), *extras}
    sources = [path for name in ("jobd", "jobctl") for path in (ROOT / name).rglob("*.py")]
    needed = {name for source in sources for name in imported(source)}
    foreign = needed - sys.stdlib_module_names - {"jobd", "jobctl"}
    assert foreign - OF_THE_DEMO == required
