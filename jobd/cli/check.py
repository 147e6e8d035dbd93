"""``jobd check``: finds problems that would keep the daemon from starting, without starting it.

Nothing is created or changed: for example, the daemon's user could not write to a log file created
by root's check. If root's start would change to another user, the check does so first, to have the
same permissions as the daemon.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from jobd.cli.check_redis import check_redis
from jobd.cli.report import Report
from jobd.cli.units import amount
from jobd.errors import ConfigError, Exit, JobdError
from jobd.settings import workdir
from jobd.settings.daemon import DEFAULT_PIDFILE, SETTINGS, Config
from jobd.settings.dashboard import WEB_SETTINGS
from jobd.settings.django_project import WORKER
from jobd.settings.load import read, read_web
from jobd.settings.redis_url import redact
from jobd.settings.schema import Setting, show
from jobd.text.counting import counted
from jobd.text.printable import paragraph, shown

_MOST_JOBS = 20
_SYSTEMD = Path("/run/systemd/system")
"""A directory that exists only if the machine was booted with systemd (see sd_booted(3))."""
_OTHER_VARIABLES = ("JOBD_CONFIG", "JOBD_SERVER_BIN")


def main(file: str | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> int:
    """Check, and print problems to standard error, or a summary to standard output.

    Returns:
        0, or the exit code of ``jobd run`` for the first problem.
    """
    report = check(file, environment, flags)
    for text in report.warnings:
        print(f"warning: {paragraph(text)}", file=sys.stderr)
    if report.problems:
        print(f"jobd: {counted(len(report.problems), 'problem')}:", file=sys.stderr)
        for _, text in report.problems:
            print(f"  - {shown(text)}", file=sys.stderr)
        return report.code
    print(summary(report, file))
    return Exit.OK


def check(file: str | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> Report:
    """Run all checks; an invalid setting does not hide other problems. But code of the application
    runs only as the user that the daemon will be, and nothing is done by a configuration that root
    does not use."""
    from jobd.master import privileges

    reading = read(file, environment, flags)
    report = Report(reading, [(Exit.CONFIG, text) for text in reading.problems])
    _check_variables(report, environment)
    try:
        privileges.require_roots(file, reading.config, reading.origins)
    except JobdError as error:
        report.problem(error.exit_code, str(error))
        return report
    # In the order of a start, whose exit code is that of the first problem.
    is_user = _check_user(report, reading.config, file)
    if is_user:
        _check_named(report, file, environment, flags)
    config = report.reading.config
    there = _check_directory(report, config)
    _check_descriptors(report, config)
    runs = _check_pidfile(report, config)
    _check_logfile(report, config)
    if there and is_user:
        _check_application(report, config)
    check_redis(report, config)
    if not runs:
        _check_health(report, config)
    _check_web(report, file, environment)
    return report


def check_settings(report: Report, file: str | None, environment: Mapping[str, str]) -> None:
    """What can be checked beside a running daemon, by any user."""
    _check_variables(report, environment)
    _check_directory(report, report.reading.config)
    _check_web(report, file, environment)


def summary(report: Report, file: str | None) -> str:
    """The effective settings, with the source of each that is not the default."""
    reading = report.reading
    lines = [f"configuration: {file or 'no file'}"]
    for one in SETTINGS:
        source = reading.origins.get(one.name)
        text = f"  {one.name:<18} {_shown(one, reading.config)}"
        lines.append(f"{text:<50} ({source})" if source else text)
    verdict = "it can start, but see the warnings" if report.warnings else "everything is fine"
    return "\n".join(map(shown, [*lines, *report.facts, verdict]))


def _shown(one: Setting, config: Config) -> str:
    value = getattr(config, one.name)
    if one.name == "redis":
        return redact(value)
    if one.name == "pidfile":
        return value or DEFAULT_PIDFILE
    if one.repeatable:
        return " ".join(map(str, value)) or "-"
    if one.switch:
        return show(value)
    if isinstance(value, float | int):
        return amount(value, one.unit)
    return value or "-"


def _check_variables(report: Report, environment: Mapping[str, str]) -> None:
    settings = (*SETTINGS, *WEB_SETTINGS)
    known = {name for one in settings for name in one.env} | set(_OTHER_VARIABLES)
    for name in sorted(environment):
        if name.startswith("JOBD_") and name not in known:
            report.warnings.append(f"unknown variable ${name}")


def _check_web(report: Report, file: str | None, environment: Mapping[str, str]) -> None:
    """Check the settings of the dashboard, even if it is not served here."""
    from jobd.web.access.users import Users

    web, problems = read_web(file, environment, {}, report.reading.config.environment)
    for text in problems:
        report.problem(Exit.CONFIG, text)
    try:
        Users(web.users, web.tokens)
    except JobdError as error:
        report.problem(error.exit_code, f"web: {error}")


def _check_named(
    report: Report, file: str | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> None:
    """Check that an application is named, or found as a Django project, whose settings are added
    to the report."""
    from jobd.master import project

    reading = report.reading
    try:
        if below := project.below(reading, environment):
            report.reading = read(file, environment, flags, below=below)
    except JobdError as error:
        report.problem(Exit.NO_APPLICATION, str(error))
        return
    for text in report.reading.problems:
        if text not in reading.problems:
            report.problem(Exit.CONFIG, text)
    if not report.reading.config.require and "require" not in reading.wrong:
        text = (
            "no application is given: name its module or file with -r or as require; a Django "
            "project is found by its manage.py"
        )
        report.problem(Exit.CONFIG, text)


def _check_user(report: Report, config: Config, file: str | None) -> bool:
    """Become the service user if a start would; returns whether this is the daemon's user, and not
    a root that was to become another."""
    from jobd.master import privileges

    root = os.geteuid() == 0
    if root and {"user", "group"} & report.reading.wrong:
        return False
    try:
        user = privileges.service_user(config)
        if user is None:
            if root and not config.user:
                report.facts.append("user: root, also for the jobs; the setting user changes it")
            return True
        steps = privileges.handovers(config, user, file)
        privileges.become(user)
    except JobdError as error:
        report.problem(error.exit_code, str(error))
        return not root
    report.prepared = {step.path for step in steps}
    first = f"{', '.join(map(str, steps))}, and " if steps else ""
    report.facts.append(f"user: root's start would {first}become {user}")
    return True


def _check_directory(report: Report, config: Config) -> bool:
    if "directory" in report.reading.wrong:
        return False
    try:
        workdir.require(config.directory)
    except ConfigError as error:
        report.problem(error.exit_code, str(error))
        return False
    return True


def _check_descriptors(report: Report, config: Config) -> None:
    from jobd.runtime.process import descriptors

    if {"concurrency", "workers"} & report.reading.wrong:
        return
    try:
        descriptors.provide(config.concurrency, config.workers)
    except ConfigError as error:
        report.problem(error.exit_code, str(error))


def _check_application(report: Report, config: Config) -> None:
    if "require" in report.reading.wrong or not config.require:
        return
    from jobd.jobs.client import destination
    from jobd.jobs.loading import attempt, unforkable

    started = time.monotonic()
    trial = attempt(config.require, config.directory, config.boot_timeout)
    took = time.monotonic() - started
    if trial.error:
        report.problem(Exit.NO_APPLICATION, trial.error)
        return
    if config.preload and trial.threads:
        report.problem(Exit.NO_APPLICATION, str(unforkable(trial.threads)))
    names = ", ".join(config.require)
    if not trial.jobs:
        report.warnings.append(
            "no app in INSTALLED_APPS has jobs in a module jobs: add the app that has them, or "
            "name the module in JOBD['MODULES']"
            if names.startswith("jobd.contrib.django.")
            else f"{names} registers no jobs: is it the right module? For jobs of a "
            "jobd.App, give its name, as in -r shop:app"
        )
    if trial.pushes and "redis" not in report.reading.wrong:
        here = destination(config.redis, config.prefix)
        if trial.pushes != here:
            report.warnings.append(
                f"{names} calls configure(), so its jobs push to {trial.pushes}, but this daemon "
                f"takes jobs from {here}: use the same for both, for example with $JOBD_REDIS"
            )
    if missing := config.unserved(trial.queues):
        served = sorted(queue.name for queue in config.queues)
        flags = " ".join(f"-q {queue}" for queue in [*served, *missing])
        report.warnings.append(
            f"jobs of {names} go to {_listed(missing)}, which this daemon does not serve: "
            f"give it {flags}, or use another daemon for that"
        )
    count = counted(trial.jobs, "job")
    report.facts.append(f"application: {names} registers {count} (imported in {took:.1f} s)")
    if config.require == (WORKER,):  # whose name says nothing of what was found
        report.facts += [f"  {name} (queue {queue})" for name, queue in trial.found[:_MOST_JOBS]]
        if (more := trial.jobs - _MOST_JOBS) > 0:
            report.facts.append(f"  and {more} more")


def _listed(queues: list[str]) -> str:
    return ("the queue " if len(queues) == 1 else "the queues ") + ", ".join(queues)


def _check_logfile(report: Report, config: Config) -> None:
    if "logfile" in report.reading.wrong:
        return
    if config.logfile and not _prepared(report, Path(config.logfile)):
        reason = _unwritable(Path(config.logfile), must_be_regular=False)
        if reason:
            text = f"cannot open the log file {config.logfile}: {reason}"
            report.problem(Exit.CANNOT_CREATE, text)


def _check_health(report: Report, config: Config) -> None:
    from jobd.keeper.health.trial import obstacle
    from jobd.settings.listening import read as read_address

    if "health" in report.reading.wrong or not config.health:
        return
    address = read_address(config.health)
    if address.path and _prepared(report, Path(address.path)):
        return
    if why := obstacle(address):
        report.problem(
            Exit.CANNOT_CREATE,
            f"cannot listen on {address} for health: {why}; the daemon would run, but no probe "
            "would reach it: change the setting health, or free the address",
        )


def _check_pidfile(report: Report, config: Config) -> bool:
    """Check it; returns whether the daemon runs already."""
    from jobd.master.files import pidfile
    from jobd.master.start import listening

    file = Path(config.pidfile or DEFAULT_PIDFILE)
    if "pidfile" in report.reading.wrong:
        return False
    # Without the setting, `jobd run` continues without a pidfile if it cannot create one.
    wanted = bool(config.pidfile) or os.access(file.parent, os.W_OK | os.X_OK)
    if wanted and (running := pidfile.holder(file) or listening(file)):
        report.problem(Exit.CANNOT_CREATE, running)
        return True
    if _prepared(report, file):
        return False
    reason = _unwritable(file, must_be_regular=True)
    if not reason:
        try:
            pidfile.check_directory(file)
        except JobdError as error:
            reason = str(error)
    if not reason and not os.access(file.parent, os.W_OK | os.X_OK):
        reason = f"{file.parent} is not writable, which the files beside it need"
    if not reason:
        reason = _not_a_pidfile(file)
    if reason and not config.pidfile and _SYSTEMD.is_dir() and not file.parent.exists():
        report.facts.append(
            f"pidfile: {file.parent} does not exist yet; systemd creates it for the service "
            "(RuntimeDirectory), but `jobd start` on the command line needs --pidfile"
        )
    elif reason and config.pidfile:
        report.problem(Exit.CANNOT_CREATE, f"cannot create the pidfile {file}: {reason}")
    elif reason:
        report.warnings.append(
            f"cannot create the pidfile {file}: {reason}; `jobd start` needs one (--pidfile), "
            "`jobd run` continues without it and without jobctl"
        )
    return False


def _prepared(report: Report, file: Path) -> bool:
    return bool(report.prepared & {file.parent, file})


def _unwritable(file: Path, *, must_be_regular: bool) -> str:
    """Why *file* could not be opened for writing, or ""; does not create it."""
    try:
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            return "it is a directory"
        if must_be_regular and not stat.S_ISREG(mode):
            return "it is not a regular file"
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        if not file.parent.is_dir():
            return f"the directory {file.parent} does not exist; create it"
        if not os.access(file.parent, os.W_OK | os.X_OK):
            return f"the directory {file.parent} is not writable for this user"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _not_a_pidfile(file: Path) -> str:
    try:
        with file.open("rb") as content:
            start = content.read(32)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    if re.fullmatch(rb"([0-9]{1,10}\n?)?", start):
        return ""
    return "it exists and is not a pidfile; remove it if it is not needed"
