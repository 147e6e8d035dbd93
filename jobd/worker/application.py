"""Loads the application: the modules and files that ``-r`` names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from jobd.errors import ApplicationError


def load(required: Iterable[str], directory: str) -> None:
    """Import everything in *required*, with *directory* first on the module path.

    A file ``jobs.py`` becomes the module ``jobs``, the name under which its jobs were pushed by a
    program that imported it or ran it.

    Raises:
        ApplicationError: one of them cannot be imported; the cause is the exception.
    """
    if directory not in sys.path:
        sys.path.insert(0, directory)
    for name in required:
        try:
            if name.endswith(".py") or "/" in name:
                _load_file(Path(directory, name))
            else:
                importlib.import_module(name)
        except ApplicationError:
            raise
        except BaseException as error:
            # Also SystemExit: a module that exits when it is imported is no application.
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            place = _place(error)
            raise ApplicationError(
                f"cannot import {name}: {reason}{place}; looked in {directory} and on the module "
                "path. Check -r/--require and --directory"
            ) from error


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise ApplicationError(
            f"cannot import {path}: there is no such file. Check -r/--require and --directory"
        )
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.import_module(path.stem)


def _place(error: BaseException) -> str:
    """File and line of the innermost frame that is not the import system's."""
    place, tb = "", error.__traceback__
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<") and "importlib" not in file:
            place = f" (at {file}:{tb.tb_lineno})"
        tb = tb.tb_next
    return place
