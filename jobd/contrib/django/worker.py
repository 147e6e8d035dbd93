"""What a daemon loads in a Django project: the project, and the jobs of its apps.

It must not be imported anywhere else: it puts middleware around every job of the process that
closes database connections.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from jobd.contrib.django.project import import_settings
from jobd.errors import ApplicationError
from jobd.jobs.app import App
from jobd.jobs.loading import explained

if TYPE_CHECKING:
    from django.core.checks import CheckMessage


def load() -> App:
    """Set up Django and import all modules with jobs.

    Raises:
        ApplicationError: the project cannot be set up, or one of the modules cannot be imported.
    """
    settings = import_settings(sys.path[0])
    import django

    try:
        django.setup()
    except (Exception, SystemExit) as error:
        module = settings.SETTINGS_MODULE
        raise ApplicationError(
            f"the Django project of {module} cannot be set up: {explained(error)}"
        ) from error
    # Its settings must be there when these are imported.
    from django.apps import apps

    from jobd.contrib.django.apps import JobdConfig, check_settings, has_tasks
    from jobd.contrib.django.connections import Connections

    wrong, names = check_settings(None), ["jobs"]
    if has_tasks():
        names.append("tasks")
        wrong += _check_tasks()
    if wrong:
        listed = "; ".join(f"{one.msg} ({one.hint})" for one in wrong)
        raise ApplicationError(f"{settings.SETTINGS_MODULE}: {listed}")
    config = apps.get_app_config("jobd")
    assert isinstance(config, JobdConfig)
    for app in apps.get_app_configs():
        for name in names:
            _import(f"{app.name}.{name}", app.module)
    for module in config.options.modules:
        _import(module)
    config.app.server_middleware.prepend(Connections())
    _close_connections()
    return config.app


def _check_tasks() -> list[CheckMessage]:
    try:
        from django.tasks.checks import check_tasks
    except ImportError as error:
        raise ApplicationError("TASKS needs Django 6.0 or newer") from error
    try:
        return list(check_tasks())
    except Exception as error:
        raise ApplicationError(f"TASKS cannot be used: {explained(error)}") from error


def _import(name: str, package: object = None) -> None:
    """Import a module; that of a *package* need not exist."""
    from django.utils.module_loading import module_has_submodule

    if package is not None and not module_has_submodule(package, name.rpartition(".")[2]):
        return
    try:
        import_module(name)
    except ApplicationError:
        raise
    except (Exception, SystemExit) as error:
        raise ApplicationError(
            f"the jobs in {name} cannot be imported: {explained(error)}"
        ) from error


def _close_connections() -> None:
    """Close what the import has opened: with ``preload`` all workers would share it."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()


app = load()
