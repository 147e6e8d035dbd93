"""The commands that control a daemon on this host; each returns when what it asks for is done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from signal import Signals
from typing import Any

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, NotRunning, Problem
from jobctl.daemon import display, health, limit, lookup, rawstacks, unlisted
from jobctl.daemon.answers import LAST_ANSWER, LONGEST, NoAnswer, Reply
from jobctl.daemon.orphans import MasterDied
from jobctl.daemon.pidfile import Daemon
from jobctl.daemon.progress import Progress
from jobctl.daemon.stop import Stop
from jobctl.say import say
from jobd.errors import ConfigError
from jobd.master.control import messages
from jobd.master.control.messages import DaemonStatus, PartialStatus
from jobd.settings.load import find_file
from jobd.text.counting import counted
from jobd.text.printable import harmless, paragraph, shown

_POSTPONED = "the daemon is quiet: it has read the settings, and will replace its workers on resume"


class Command(click.Command):
    """A command with the options that name the daemon; its object is what finds that."""

    shared: tuple[str, ...] = options.OF_DAEMON

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.params = [*self.params, *options.made(self.shared)]

    def invoke(self, ctx: click.Context) -> object:
        for name in options.ALL:
            if name not in self.shared and options.given(ctx, name) is not None:
                raise click.UsageError(
                    f"{ctx.info_name} has no --{name}: it controls the daemon on this host, which "
                    "-P or -C names",
                    ctx,
                )
        pidfile, config = options.given(ctx, "pidfile"), options.given(ctx, "config")
        ctx.obj = lambda: _find(pidfile, config)
        try:
            return super().invoke(ctx)
        except NoAnswer as problem:
            raise Problem(
                Code.TIMED_OUT, f"{problem}; jobctl threads shows what it is doing"
            ) from None
        except ConfigError as error:
            raise Problem(
                Code.USAGE, f"{error} (with -P PIDFILE, no configuration is read)"
            ) from None
        except (click.Abort, KeyboardInterrupt):
            raise Problem(
                Code.INTERRUPTED, "interrupted; the daemon continues with the request"
            ) from None


class _Status(Command):
    shared = (*options.OF_DAEMON, "json")


Finder = Callable[[], Daemon]


def _find(pidfile: str | None, config: str | None) -> Daemon:
    with limit.within(limit.FILES, "cannot read the configuration or the files beside the pidfile"):
        path = lookup.pidfile(pidfile, config, os.environ, say)
        try:
            return Daemon.find(path)
        except NotRunning:
            unlisted.refuse(path, find_file(config, os.environ), os.environ)
            raise


@click.command(cls=_Status)
@click.option("--check", is_flag=True, help="Print the health in one line, and set the exit code.")
@click.pass_context
def status(context: click.Context, check: bool) -> int:
    """Show what the daemon and its workers are doing.

    --check is for monitoring: it prints one line, and its exit code is 0 if all is well, 7 in a
    crash loop, 8 without Redis, 9 if the daemon fetches no jobs (it is starting, stopping or
    quiet), 10 if there is a problem with a process; the first that applies. Without --check, the
    exit code is 0 whenever the daemon answers.
    """
    find: Finder = context.obj
    answer = find().result(messages.Status()).status
    as_json = options.wants_json(context)
    try:
        printable = harmless(answer)
        code, text = Code.DONE, ""
        if check:
            code, text = health.verdict(msgspec.convert(printable, DaemonStatus))
        if as_json:
            text = json.dumps(answer, indent=2)
        elif not check:
            text = display.status(msgspec.convert(printable, PartialStatus))
    except (
        msgspec.MsgspecError,
        ArithmeticError,
        LookupError,
        OSError,
        RecursionError,
        ValueError,
    ):
        raise Problem(Code.FAILED, "status: the answer is malformed") from None
    click.echo(text)
    return code


@click.command(cls=Command)
@click.pass_obj
def quiet(find: Finder) -> None:
    """Stop fetching jobs; running jobs continue. Returns when all workers have stopped fetching."""
    daemon = find()
    try:
        answer = daemon.result(messages.Quiet())
    except NoAnswer as problem:
        # Not TSTP: a stopped process loses it when it is resumed.
        daemon.signal(Signals.SIGUSR1)
        raise Problem(
            Code.PARTIAL, f"{problem}; a signal was sent, but it is unknown whether it is quiet"
        ) from None
    click.echo(paragraph(answer.text or "quiet"))


@click.command(cls=Command)
@click.pass_obj
def resume(find: Finder) -> None:
    """Resume fetching jobs after quiet."""
    find().result(messages.Resume())
    click.echo("resumed")


def _seconds(_context: click.Context, _option: click.Parameter, given: str | None) -> float | None:
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:  # false for NaN, too
        raise click.BadParameter(f"{given} is not a number of seconds from 0 to {LONGEST:g}")
    return seconds


@click.command(cls=Command)
@click.option(
    "--timeout",
    callback=_seconds,
    metavar="SECONDS",
    help="Time for running jobs to finish.  [default: the daemon's timeout]",
)
@click.option("--kill", is_flag=True, help="If it does not stop, kill the master and workers.")
@click.pass_obj
def stop(find: Finder, timeout: float | None, kill: bool) -> int:
    """Stop the daemon, and return when it has exited.

    Jobs that do not finish in time are returned to the head of their queues. If the master was
    killed, its children stop by themselves, and this waits for them.
    """
    try:
        daemon = find()
    except MasterDied as problem:
        return _outlast(problem, kill=kill)
    except NotRunning as problem:
        click.echo(paragraph(str(problem)))
        return Code.DONE
    stopping = Stop(daemon, timeout, kill=kill)
    code, text = stopping.run()
    if (died := _died(daemon)) is not None:
        return _outlast(died, kill=kill)
    returned = stopping.returned
    if text:
        say(text)
    jobs = counted(returned, "unfinished job")
    click.echo(f"stopped; {jobs} returned to Redis" if returned else "stopped")
    return code


def _died(daemon: Daemon) -> MasterDied | None:
    """What a master has left that was killed during its stop."""
    try:
        Daemon.find(daemon.pidfile).process.close()
    except MasterDied as died:
        return died if died.orphans else None
    except Problem:
        pass  # it has removed its files, as it should
    return None


def _outlast(died: MasterDied, *, kill: bool) -> int:
    """Wait for the children of a master that died."""
    if not died.orphans:
        click.echo(paragraph(str(died)))
        return Code.DONE
    say(f"stop: {died}")
    code = died.wait(kill=kill)
    click.echo("stopped; the next start recovers what jobs are left" if code else "stopped")
    return code


@click.command(cls=Command)
@click.argument("processes", nargs=-1, metavar="[PROCESS]...")
@click.option("--busy", is_flag=True, help="Only the threads that run jobs.")
@click.pass_obj
def threads(find: Finder, processes: tuple[str, ...], busy: bool) -> int:
    """Print what every thread of every process is doing, with its job and the job's arguments.

    With PROCESS, only the threads of that process: worker.0 (or 0), keeper, zygote, master, or a
    process id.
    """
    daemon = find()
    # As for retire; process ids that small belong to the system.
    of = [f"worker.{one}" if one.isdecimal() and int(one) < 256 else one for one in processes]
    try:
        return _answered(daemon.ask(messages.Threads([*of], busy=busy)))
    except NoAnswer as problem:
        with limit.within(limit.FILES, "the files of the daemon cannot be read"):
            for part in rawstacks.collect(daemon, of):
                click.echo(shown(part, lines=True))
        raise Problem(Code.PARTIAL, f"{problem}, so only raw stacks are available") from None


def _answered(answers: Iterator[Reply]) -> int:
    printed = False
    for message in answers:
        if message.type == "text":
            printed = True
            click.echo(shown(message.text, lines=True))
        elif message.type == "done":
            if not printed:
                click.echo("no jobs are running")
            if message.raw:
                say(f"no answer, so only raw stacks or none: {', '.join(message.raw)}")
                return Code.PARTIAL
            return Code.DONE
        elif message.type == "failed":
            raise Problem(Code.FAILED, f"threads: {message.error}")
    raise Problem(Code.FAILED, "threads: the daemon ended before it was done")


@click.command("reopen-logs", cls=Command)
@click.pass_obj
def reopen_logs(find: Finder) -> None:
    """Make all processes reopen the log file; for logrotate, after it has moved the file."""
    daemon = find()
    try:
        daemon.result(messages.Reopen())
    except NoAnswer as problem:
        daemon.signal(Signals.SIGUSR2)
        raise Problem(
            Code.PARTIAL, f"{problem}; a signal was sent, but it is unknown which have reopened"
        ) from None
    click.echo("all processes have reopened the log")


@click.command(cls=Command)
@click.option("--wait", is_flag=True, help="Return when the last new worker is ready.")
@click.option(
    "--timeout",
    callback=_seconds,
    metavar="SECONDS",
    help="With --wait: how long to wait; the reload continues after that.  [default: a day]",
)
@click.pass_obj
def reload(find: Finder, wait: bool, timeout: float | None) -> None:
    """Read the settings again and replace all workers with new ones that load the current code.

    The workers are replaced one by one; the old ones finish their jobs. If a new worker cannot
    boot, the old ones are kept. Without --wait, the command returns when the reload has begun.

    A quiet daemon reads the settings, but starts the new workers only when it is resumed; --wait
    does not wait for that, and its exit code is then 4.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout requires --wait")
    daemon = find()
    try:
        _reload(daemon, wait, timeout)
    except NoAnswer as problem:
        daemon.signal(Signals.SIGHUP)
        raise Problem(
            Code.PARTIAL, f"{problem}; a signal was sent, but its result is unknown"
        ) from None


def _slot(_context: click.Context, _argument: click.Parameter, given: str) -> int:
    """A worker's number, given as such or as the name that ``jobctl status`` shows."""
    number = given.lower().removeprefix("worker").removeprefix(".")
    if not (number.isascii() and number.isdecimal()):
        raise click.BadParameter(
            f"{given} is not a worker; give a name shown by jobctl status, such as worker.0 or 0"
        )
    return int(number)


@click.command(cls=Command)
@click.argument("slot", callback=_slot)
@click.pass_obj
def retire(find: Finder, slot: int) -> None:
    """Replace the worker in SLOT (0 or worker.0) with a new one; the old one finishes its jobs.

    As with max_jobs, one worker at a time is replaced, and it is kept if the new one does not
    become ready. Returns when the request has been accepted; `jobctl status` shows the progress.
    """
    answer = find().result(messages.Retire(slot))
    click.echo(shown(f"worker.{slot}, pid {answer.pid}, will be replaced"))


def _count(_context: click.Context, _argument: click.Parameter, given: str) -> int:
    if not (given.isascii() and given.isdecimal()):
        raise click.BadParameter(f"{given} is not a number of workers, such as 4")
    if int(given) == 0:
        raise click.BadParameter(
            "at least 1 worker is required; jobctl quiet stops fetching jobs, jobctl stop stops "
            "the daemon"
        )
    return int(given)


@click.command(cls=Command)
@click.argument("workers", callback=_count)
@click.pass_obj
def scale(find: Finder, workers: int) -> None:
    """Change the number of workers to WORKERS, until the daemon stops or a reload changes it.

    Surplus workers (those with the highest numbers) finish their jobs and exit. Returns when the
    request has been accepted; `jobctl status` shows the progress.
    """
    answer = find().result(messages.Scale(workers))
    before, leaving = answer.before, answer.leaving
    click.echo(shown(f"{before} -> {workers} workers"))
    for role, pid in leaving.items():
        click.echo(shown(f"{role}, pid {pid}, will exit when its jobs have ended"))


def _reload(daemon: Daemon, wait: bool, timeout: float | None) -> None:
    limit = LAST_ANSWER if not wait else LONGEST if timeout is None else timeout
    progress = Progress("reload")
    for message in daemon.ask(messages.Reload(), limit=limit):
        progress.show(message)
        if message.type == "accepted" and not wait:
            click.echo("reloading")
            return
        if message.type == "progress":
            click.echo(paragraph(message.text))
        elif message.type == "done" and message.postponed:
            if wait:
                raise Problem(Code.PARTIAL, f"reload: {_POSTPONED}")
            click.echo(_POSTPONED)
            return
        elif message.type == "done":
            click.echo(shown(f"reloaded: generation {message.generation} is complete"))
            return
        elif message.type == "failed":
            raise Problem(Code.FAILED, f"reload: {message.error}")
    raise Problem(Code.FAILED, "reload: the daemon ended before it was done")
