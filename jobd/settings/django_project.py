"""Finding a Django project: by ``DJANGO_SETTINGS_MODULE``, or by the file ``manage.py``.

Nothing is imported: the master and the command line run no code of the application.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

VARIABLE = "DJANGO_SETTINGS_MODULE"
MANAGE = "manage.py"

WORKER = "jobd.contrib.django.worker:app"
"""The application that a daemon loads in a Django project."""


class Project(NamedTuple):
    """A Django project.

    Attributes:
        settings: its settings module; "" if that is not known.
        source: what names it.
    """

    settings: str
    source: str


def find(directory: str, environment: Mapping[str, str]) -> Project | None:
    """The project in *directory* ("" = the current one), or the one of the environment."""
    if named := environment.get(VARIABLE):
        return Project(named, f"${VARIABLE}")
    # Not needed by workers, which import this module.
    from jobd.settings.load import NotReadable, content

    file = Path(directory) / MANAGE
    try:
        source = content(str(file)).decode(errors="replace")
    except (OSError, NotReadable):
        return None
    return Project(_named_in(source), str(file)) if "django" in source else None


def _named_in(source: str) -> str:
    """The module in ``os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")``, or in an
    assignment."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                args=[ast.Constant(value="DJANGO_SETTINGS_MODULE"), ast.Constant(str(n))]
            ):
                return n
            case ast.Assign(
                targets=[ast.Subscript(slice=ast.Constant(value="DJANGO_SETTINGS_MODULE"))],
                value=ast.Constant(str(n)),
            ):
                return n
    return ""
