"""``manage.py jobd …``: becomes ``jobd …``, with the settings of this project.

The process is replaced: a master that had imported the project could not load new code, and signals
and exit codes are those of jobd.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

_OURS = ("--settings", "--pythonpath")
"""Options of ``manage.py``, which it has obeyed already."""


class Command(BaseCommand):
    """Runs the command ``jobd``; its own options are those of ``jobd --help``."""

    help = (
        "Runs jobd with this project: dev, check, run, start, web and the others that "
        "manage.py jobd --help lists; for example: manage.py jobd run -q mail."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("arguments", nargs="*", help="as for jobd: see manage.py jobd --help")

    def run_from_argv(self, argv: list[str]) -> None:
        """Without Django's parser, which would take options of jobd for its own."""
        self.execute_jobd(_without_ours(argv[2:]))

    def handle(self, *_: object, **options: Any) -> None:
        self.execute_jobd(options["arguments"])

    def execute_jobd(self, arguments: list[str]) -> None:
        """Never returns."""
        if not (module := settings.SETTINGS_MODULE):
            raise CommandError("jobd needs a settings module: set DJANGO_SETTINGS_MODULE")
        # The directory of manage.py, --pythonpath, and PYTHONPATH as it was.
        paths = [str(Path(each or ".").absolute()) for each in sys.path[: _first_of_python()]]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": module,
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        }
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, "-m", "jobd", *arguments], environment)


def _first_of_python() -> int:
    """The place of the standard library in ``sys.path``."""
    library = {str(Path(os.__file__).parent), *(each for each in sys.path if each.endswith(".zip"))}
    return next((place for place, each in enumerate(sys.path) if each in library), 1)


def _without_ours(arguments: list[str]) -> list[str]:
    kept, skip = [], False
    for each in arguments:
        if skip or each.startswith(tuple(f"{one}=" for one in _OURS)):
            skip = False
        elif each in _OURS:
            skip = True
        else:
            kept.append(each)
    return kept
