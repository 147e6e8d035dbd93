"""The command ``jobd``.

``jobd --help`` and shell completion only import click: options are created from the settings, and
everything else is imported, when a command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobd.cli import completion, hints
from jobd.errors import ApplicationError, ConfigError, Exit, JobdError
from jobd.text.printable import any_text_prints, paragraph, shown

if TYPE_CHECKING:
    from jobd.jobs.app import App
    from jobd.settings.daemon import Config
    from jobd.settings.schema import Setting

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# The settings that the dashboard shares with the daemon: where the data is, how to log, and the
# application, whose type hints it uses for forms.
_SHARED = (
    "redis",
    "prefix",
    "environment",
    "log_level",
    "log_format",
    "log_max_value",
    "require",
    "directory",
)
_LEAST_PASSWORD = 8


class _SettingsCommand(click.Command):
    """A command with ``-C`` and an option for every setting."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not any(param.name == "config" for param in self.params):
            from jobd.settings.daemon import SETTINGS

            self.params = [_config_option(), *map(_option, SETTINGS), *self.params]
        return super().get_params(ctx)


def _config_option() -> click.Option:
    return click.Option(
        ["-C", "--config"],
        metavar="FILE",
        help="Settings, as TOML.  [default: $JOBD_CONFIG, else ./jobd.toml if it exists]",
        shell_complete=completion.files,
    )


def _option(setting: Setting) -> click.Option:
    # Values stay text here: the settings parse them, and report all invalid ones together.
    notes = ["repeatable"] if setting.repeatable else []
    if setting.default_text:
        notes.append(f"default: {setting.default_text}")
    if setting.switch:
        (flag,) = setting.flags
        return click.Option(
            [f"{flag}/--no-{flag.removeprefix('--')}", setting.name],
            default=None,
            help=f"{setting.help}  [{'; '.join(notes)}]",
        )
    return click.Option(
        [*setting.flags, setting.name],
        multiple=setting.repeatable,
        metavar="|".join(setting.choices) or setting.metavar or setting.unit.upper() or "TEXT",
        help=setting.help + (f"  [{'; '.join(notes)}]" if notes else ""),
        shell_complete=completion.values(setting.metavar, setting.choices),
    )


class _WebCommand(click.Command):
    """A command with ``-C``, some settings of the daemon, and the flags of the dashboard."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:
            from jobd.settings.daemon import SETTINGS
            from jobd.settings.dashboard import WEB_FLAGS, WEB_SETTINGS

            wanted = [one for one in WEB_SETTINGS if one.name in WEB_FLAGS]
            wanted += [one for one in SETTINGS if one.name in _SHARED]
            self.params = [_config_option(), *map(_option, wanted)]
        return super().get_params(ctx)


@click.group(
    cls=hints.Group, context_settings=_HELP, no_args_is_help=False, invoke_without_command=True
)
@click.option("-V", "--version", "show_version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def jobd(ctx: click.Context, show_version: bool) -> int:
    """Run background jobs: a daemon that is compatible with Sidekiq and loses no jobs."""
    if show_version:
        click.echo(_version())
        ctx.exit(Exit.OK)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(Exit.USAGE)
    return Exit.OK


@jobd.command(cls=_SettingsCommand)
@click.option("--no-wait", is_flag=True, help="Do not wait until the workers are ready.")
def start(no_wait: bool, config: str | None, **flags: object) -> int:
    """Start the daemon and wait until it is ready."""
    settings, reread = _load(config, flags)
    from jobd.master.start import start as start_daemon

    return start_daemon(settings, reread, _file(config), wait=not no_wait)


@jobd.command(cls=_SettingsCommand)
def run(config: str | None, **flags: object) -> int:
    """Run in the foreground (systemd, containers)."""
    settings, reread = _load(config, flags)
    from jobd.master.start import run as run_daemon

    return run_daemon(settings, reread, _file(config))


@jobd.command(cls=_SettingsCommand)
def check(config: str | None, **flags: object) -> int:
    """Print all problems that a start would have.

    Checks the settings, the log file, the pidfile and Redis, and imports the application in a
    separate process. Nothing is started or changed.
    """
    from jobd.cli import check as checks
    from jobd.settings.load import find_file

    return checks.main(find_file(config, os.environ), os.environ, flags)


@jobd.command(cls=_SettingsCommand)
@click.option("--watch", multiple=True, metavar="DIR", help="Watch the code in DIR, too.")
@click.option("--no-dashboard", is_flag=True, help="Do not start the dashboard.")
def dev(watch: tuple[str, ...], no_dashboard: bool, config: str | None, **flags: object) -> int:
    """Run while you develop: reload when code is saved.

    Starts a Redis server if none is configured and none runs, the dashboard, and one worker that
    serves the queues of all jobs, and lists the jobs. Stop with Ctrl-C.
    """
    from jobd.dev.session import Options
    from jobd.dev.watching import develop

    return develop(Options(config, flags, tuple(map(Path, watch)), not no_dashboard))


@jobd.command()
@click.argument("directory")
def new(directory: str) -> int:
    """Write an application to begin with, in the new DIRECTORY.

    Its name becomes that of the module: `jobd new shop` writes shop/shop.py with a job, its test,
    the settings, a unit for systemd and a README.
    """
    from jobd.dev.new import create

    for path in create(directory):
        click.echo(shown(str(path)))
    click.echo(shown(f"next: cd {directory}; pip install -r requirements.txt; pytest; jobd dev"))
    return Exit.OK


@jobd.command(cls=_WebCommand)
def web(config: str | None, **flags: object) -> int:
    """Serve the dashboard."""
    from jobd.master import privileges, project
    from jobd.settings.load import find_file, load_web, read

    environment = dict(os.environ)
    file = find_file(config, environment)
    shared = {name: flags.pop(name) for name in _SHARED}
    reading = read(file, environment, shared)
    try:
        reading = read(file, environment, shared, below=project.below(reading, environment, file))
    except ApplicationError as error:
        _complain(f"{error}. The dashboard does without it")
    settings = reading.settings()
    of_web = load_web(file, environment, flags, settings.environment)
    privileges.assume_only(settings, file, reading.origins)
    app = _application(settings)
    try:
        from jobd.web.serving.server import serve
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the dashboard needs the package {str(error.name).partition('.')[0]}: "
            "run pip install 'pyjobd[web]'"
        ) from None
    return serve(settings, of_web, app)


def _application(settings: Config) -> App:
    """The application, for the forms that edit jobs; the dashboard works without it."""
    from jobd.jobs import loading
    from jobd.jobs.app import default

    try:
        return loading.load(settings.require, settings.directory) if settings.require else default
    except ApplicationError as error:
        _complain(f"{error}. Jobs are edited as JSON, because the types of arguments are unknown")
        return default


@jobd.command(name="web-password")
@click.argument("name")
@click.option("--role", default="viewer", help="viewer, operator or admin.  [default: viewer]")
@click.option("--token", is_flag=True, help="Create a token for a script instead.")
def web_password(name: str, role: str, token: bool) -> int:
    """Create the entry of the user NAME for the dashboard.

    Prompts for a password, or reads it from standard input if that is not a terminal. Only the
    entry is written to standard output.
    """
    from jobd.api.roles import Role
    from jobd.web.access.users import hash_password, hash_token

    if not name.isprintable() or ":" in name or " " in name or not 0 < len(name) <= 100:
        raise click.UsageError("NAME may have up to 100 characters, but no spaces and no colons")
    role = Role.of(role).name.lower()
    if token:
        import secrets

        secret = secrets.token_urlsafe(32)
        click.echo(f"The token, which is not stored anywhere: {secret}", err=True)
        entry = f"{name}:{role}:{hash_token(secret)}"
    else:
        entry = f"{name}:{role}:{hash_password(_password())}"
    where = "tokens" if token else "users"
    click.echo(f"Add this to the list {where} in the section [web], in quotes:", err=True)
    click.echo(entry)
    return Exit.OK


def _password() -> str:
    if sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\n")
    if len(given) < _LEAST_PASSWORD:
        raise click.UsageError(f"a password must have at least {_LEAST_PASSWORD} characters")
    return str(given)


@jobd.command()
@click.option("--redis", metavar="URL", help="Server to use.  [default: an embedded one]")
def demo(redis: str | None) -> int:
    """Show jobs at work; stop with Ctrl-C."""
    from jobd.demo import main as show

    return show(redis)


@jobd.command()
def version() -> int:
    """Print the version."""
    click.echo(_version())
    return Exit.OK


def _file(config: str | None) -> str | None:
    from jobd.settings.load import find_file

    return find_file(config, os.environ)


def _load(config: str | None, flags: dict[str, object]) -> tuple[Config, Callable[[], Config]]:
    """The settings, and a function that reads them again from the same sources."""
    from jobd.master import project
    from jobd.settings import workdir
    from jobd.settings.load import find_file, read

    environment = dict(os.environ)
    file = find_file(config, environment)
    below = project.below(read(file, environment, flags), environment, file)
    settings = _settings(file, environment, flags, below)
    base = Path.cwd()
    # Kept as a path: it may be in a release directory behind a symbolic link.
    again = str(workdir.here() / file) if file else None
    return settings, lambda: _settings(again, environment, flags, below, base)


def _settings(
    file: str | None,
    environment: dict[str, str],
    flags: dict[str, object],
    below: dict[str, object],
    base: Path | None = None,
) -> Config:
    from jobd.master.privileges import require_roots
    from jobd.settings.load import read

    reading = read(file, environment, flags, base, below)
    require_roots(file, reading.config, reading.origins)
    settings = reading.settings()
    if not settings.require:
        raise ConfigError(
            "no application is given: name its module or file with -r, e.g. -r shop.jobs, "
            "or as require in the configuration file; a Django project is found by its manage.py"
        )
    return settings


def _version() -> str:
    from jobd.version import VERSION

    return f"jobd {VERSION} (Python {sys.version.split()[0]})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code, which supervisors rely on (errors.Exit)."""
    any_text_prints()
    return _guarded(lambda: jobd.main(args=argv, prog_name="jobd", standalone_mode=False))


def _guarded(command: Callable[[], int | None]) -> int:
    try:
        return int(command() or Exit.OK)
    except click.ClickException as error:
        _complain(hints.explained(error))
        return Exit.USAGE
    except JobdError as error:
        _complain(str(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader is gone (| head). Python would report that again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OS_ERROR


def _complain(text: str) -> None:
    click.echo(f"jobd: {paragraph(text)}", err=True)


if __name__ == "__main__":
    sys.exit(main())
