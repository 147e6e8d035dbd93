"""The app for ``INSTALLED_APPS``. Being ready costs no query, socket or thread."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy

from jobd.contrib.django import carried
from jobd.contrib.django.commit import OnCommit
from jobd.contrib.django.options import Options, Problem, app_of, missing_modules, options_of
from jobd.errors import JobdError
from jobd.jobs.app import App, default

if TYPE_CHECKING:
    from jobd.jobs.transports import AsyncTransport, Transport


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
        wrong = [f"{one.text} ({one.hint})" for one in problems]
        try:
            self.app = app_of(self.options)
        except JobdError as error:
            wrong.append(str(error))
        if wrong:
            # The check reports it, and a worker does not start. A web server makes no checks.
            self.app.push_through(Refusing("; ".join(wrong)))
        else:
            configure(self.app, self.options)


class Refusing:
    """Put around the transport of a client: makes every push an error, since with wrong settings
    jobs would go to a server from which nobody takes them."""

    def __init__(self, wrong: str) -> None:
        self._wrong = wrong

    def transport(self, inner: Transport) -> Transport:  # noqa: ARG002 - as of Around
        raise ImproperlyConfigured(f"nothing is pushed with these settings: {self._wrong}")

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:  # noqa: ARG002 - as of Around
        raise ImproperlyConfigured(f"nothing is pushed with these settings: {self._wrong}")


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
    errors = problems_as_checks([*problems, *missing_modules(options)])
    try:
        app_of(options)
    except JobdError as error:
        hint = "write app = jobd.App() in that module, or leave APP out"
        errors.append(Error(str(error), hint=hint, id="jobd.E005"))
    return errors


def problems_as_checks(problems: Iterable[Problem]) -> list[CheckMessage]:
    return [Error(one.text, hint=one.hint, id=f"jobd.{one.number}") for one in problems]
