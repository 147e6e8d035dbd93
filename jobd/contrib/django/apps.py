"""The app for ``INSTALLED_APPS``. Being ready costs no query, socket or thread."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.translation import gettext_lazy

from jobd.contrib.django import carried
from jobd.contrib.django.commit import OnCommit
from jobd.contrib.django.options import Options, Problem, app_of, options_of
from jobd.errors import JobdError
from jobd.jobs.app import App, default


class JobdConfig(AppConfig):
    """Reads ``JOBD``: where pushes go, and what they wait for.

    Attributes:
        options: what it says.
        app: the application that it names.
    """

    name = "jobd.contrib.django"
    label = "jobd"
    verbose_name = gettext_lazy("Background jobs")
    default_auto_field = "django.db.models.BigAutoField"

    options = Options()
    app: App = default

    def ready(self) -> None:
        register(check_settings)
        if has_tasks():
            with suppress(ImportError):  # before Django 6.0
                import_module("django.tasks.checks")  # registers itself; Django does not import it
        self.options, problems = options_of(getattr(settings, "JOBD", {}), settings.DATABASES)
        if problems:
            return  # the check reports them, and a worker does not start
        try:
            self.app = app_of(self.options)
        except (ImportError, JobdError):
            return
        configure(self.app, self.options)


def configure(app: App, options: Options) -> None:
    """Set up *app* in this process."""
    if options.redis or options.prefix is not None:
        before = app.client  # in a worker that of the daemon
        prefix = before.prefix if options.prefix is None else options.prefix
        app.configure(options.redis or before.url, prefix, max_payload=before.max_payload)
    if options.carry:
        carried.carry()
    using = options.database if options.on_commit else None
    app.push_through(OnCommit(using, log_errors=options.on_commit_errors == "log"))


def has_tasks() -> bool:
    """Whether tasks of ``django.tasks`` are jobs here."""
    backends = getattr(settings, "TASKS", {}).values()
    return any("jobd" in str(one.get("BACKEND")) for one in backends)


def check_settings(_app_configs: object = None, **_: object) -> list[CheckMessage]:
    """The system check of ``JOBD``."""
    options, problems = options_of(getattr(settings, "JOBD", {}), settings.DATABASES)
    errors = problems_as_checks(problems)
    try:
        app_of(options)
    except (ImportError, JobdError) as error:
        errors.append(Error(f"JOBD['APP']: {error}", hint="name it as module:app", id="jobd.E005"))
    return errors


def problems_as_checks(problems: Iterable[Problem]) -> list[CheckMessage]:
    return [Error(one.text, hint=one.hint, id=f"jobd.{one.number}") for one in problems]
