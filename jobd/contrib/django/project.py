"""Importing the settings of a Django project, with errors for people.

As a program it answers the command line, which imports no code of applications: with what the
settings say of jobd, as JSON to a descriptor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from jobd.errors import ApplicationError
from jobd.jobs.loading import explained
from jobd.settings.django_project import VARIABLE, find

APP = "jobd.contrib.django"


def import_settings(directory: str) -> Any:
    """Import the settings of the project in *directory*, which is first in ``sys.path``.

    Raises:
        ApplicationError: they cannot be imported, or lack our app; the text says why.
    """
    project = find(directory, os.environ)
    if project is None or not project.settings:
        where = f"{project.source} does not name" if project else f"nothing in {directory} names"
        raise ApplicationError(
            f"{where} the settings module of a Django project: set {VARIABLE}, for example to "
            "shop.settings, or give the application with -r"
        )
    os.environ.setdefault(VARIABLE, project.settings)
    what = f"the settings of the Django project, {project.settings} (from {project.source}), "
    try:
        from django.conf import settings

        apps = list(settings.INSTALLED_APPS)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "django":
            raise ApplicationError(
                f"Django is not installed in the environment of {sys.executable}"
            ) from None
        raise ApplicationError(f"{what}cannot be imported: {explained(error)}") from error
    if not any(app == APP or app.startswith(f"{APP}.") for app in apps):
        raise ApplicationError(f'{what}lack jobd: add "{APP}" to INSTALLED_APPS')
    return settings


def main(arguments: list[str]) -> None:
    """Write what the settings say of jobd to a descriptor: ``{"redis": …, "prefix": …}``, or
    ``{"error": …}``."""
    answer_to, directory = arguments
    sys.path.insert(0, directory)
    try:
        given = getattr(import_settings(directory), "JOBD", {})
        answer: dict[str, str] = {}
        if isinstance(given, Mapping):
            named = {"redis": given.get("REDIS"), "prefix": given.get("PREFIX")}
            answer = {name: value for name, value in named.items() if isinstance(value, str)}
    except ApplicationError as error:
        answer = {"error": str(error)[:5000]}
    os.write(int(answer_to), json.dumps(answer).encode())
    os._exit(0)  # skips what the settings may have started


if __name__ == "__main__":
    main(sys.argv[1:])
