"""Finding a Django project without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobd.settings.django_project import find

USUAL = """
import os, sys
def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""


@pytest.mark.parametrize(
    ("source", "module"),
    [
        (USUAL, "shop.settings"),
        ("os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.live'  # django", "shop.live"),
        ("import django\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', name())", ""),
        ("import django\ndef (", ""),
        ("import django\n\0", ""),
        ("django" + "(" * 10_000, ""),
    ],
)
def test_manage_py_names_the_settings(tmp_path: Path, source: str, module: str) -> None:
    (tmp_path / "manage.py").write_text(source)
    found = find(str(tmp_path), {})
    assert found == (module, str(tmp_path / "manage.py"))


def test_the_environment_counts_first(tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(USUAL)
    found = find(str(tmp_path), {"DJANGO_SETTINGS_MODULE": "shop.live"})
    assert found == ("shop.live", "$DJANGO_SETTINGS_MODULE")


def test_other_directories_are_no_projects(tmp_path: Path) -> None:
    assert find(str(tmp_path), {}) is None
    assert find(str(tmp_path / "nowhere"), {"DJANGO_SETTINGS_MODULE": ""}) is None
    (tmp_path / "manage.py").write_text("print('of Flask-Script')")
    assert find(str(tmp_path), {}) is None
    (tmp_path / "manage.py").unlink()
    (tmp_path / "manage.py").mkdir()
    assert find(str(tmp_path), {}) is None
