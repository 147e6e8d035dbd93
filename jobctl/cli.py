"""The command ``jobctl``: each command returns when what it asked for has happened."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from signal import Signals
from typing import Any

import click

from jobctl import display, limit, lookup, rawstacks
from jobctl.answers import LAST_ANSWER, LONGEST, Answers, NoAnswer
from jobctl.codes import Code, NotRunning, Problem
from jobctl.daemon import Daemon
from jobd.errors import ConfigError
from jobd.outward import any_text_prints, harmless, paragraph, shown

_BY_SIGNAL = 60.0  # s beyond the timeout, for a stop whose limit the master could not tell
_AFTER_QUIT = 15.0
_MARGIN = 5.0
_INTERRUPTED = 130
_POSTPONED = "the daemon is quiet: it has read the settings, and replaces its workers at the resume"

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_HELP, no_args_is_help=False, invoke_without_command=True)
@click.version_option(None, "-V", "--version", package_name="jobd", message="jobctl %(version)s")
@click.option("-P", "--pidfile", metavar="FILE", help="The daemon's pidfile.")
@click.option("-C", "--config", metavar="FILE", help="The daemon's configuration.")
@click.pass_context
def jobctl(context: click.Context, pidfile: str | None, config: str | None) -> None:
    """Control a running jobd.

    The daemon is found by --pidfile, else $JOBD_PIDFILE, else by the pidfile that its
    configuration names (-C, $JOBD_CONFIG, ./jobd.toml), else by /run/jobd/jobd.pid.

    Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 no permission or done in part,
    5 timed out, 6 refused because the pidfile does not belong to a jobd.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(Code.USAGE)
    context.obj = lambda: _find(pidfile, config)


Finder = Callable[[], Daemon]


def _find(pidfile: str | None, config: str | None) -> Daemon:
    with limit.within(limit.FILES, "the configuration, or what is beside the pidfile, hangs"):
        return Daemon.find(lookup.pidfile(pidfile, config, os.environ, _say))


@jobctl.command()
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@click.pass_obj
def status(find: Finder, as_json: bool) -> None:
    """Show what the daemon and its workers are doing."""
    answer = find().result("status")["status"]
    try:
        text = json.dumps(answer, indent=2) if as_json else display.status(harmless(answer))
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        raise Problem(Code.FAILED, "status: the answer is malformed") from None
    click.echo(text)


@jobctl.command()
@click.pass_obj
def quiet(find: Finder) -> None:
    """Take no new jobs; those that run go on. Returns when every worker has stopped taking jobs."""
    daemon = find()
    try:
        answer = daemon.result("quiet")
    except NoAnswer as problem:
        # Not TSTP: a process that is stopped loses it when it is let go.
        daemon.signal(Signals.SIGUSR1)
        raise Problem(
            Code.PARTIAL, f"{problem}; a signal was sent, but whether it is quiet is not known"
        ) from None
    click.echo(paragraph(answer["text"] or "quiet"))


@jobctl.command()
@click.pass_obj
def resume(find: Finder) -> None:
    """Take jobs again after quiet."""
    find().result("resume")
    click.echo("resumed")


def _seconds(
    _context: click.Context, _option: click.Parameter, given: float | None
) -> float | None:
    if given is not None and not 0 <= given <= LONGEST:  # also what is no number
        raise click.BadParameter(f"{given:g} is not a number of seconds from 0 to {LONGEST:g}")
    return given


@jobctl.command()
@click.option(
    "--timeout",
    type=float,
    callback=_seconds,
    metavar="SECONDS",
    help="How long running jobs may go on.  [default: the daemon's timeout]",
)
@click.option("--kill", is_flag=True, help="If it does not stop, kill master and workers.")
@click.pass_obj
def stop(find: Finder, timeout: float | None, kill: bool) -> int:
    """Stop the daemon and return when it has gone.

    Jobs that do not end in time go back to the head of their queues.
    """
    try:
        daemon = find()
    except NotRunning as problem:
        click.echo(paragraph(str(problem)))
        return Code.DONE
    code, text, returned = _stop(daemon, timeout, kill)
    if text:
        _say(text)
    jobs = "1 unfinished job" if returned == 1 else f"{returned:,} unfinished jobs"
    click.echo(f"stopped; {jobs} went back to Redis" if returned else "stopped")
    return code


def _stop(daemon: Daemon, timeout: float | None, kill: bool) -> tuple[Code, str, int]:
    """The code, what there is to say about it, and how many jobs the daemon says to have
    returned."""
    fields = {} if timeout is None else {"timeout": timeout}
    began = time.monotonic()
    answers: Answers | None = None
    try:
        answers = daemon.ask("stop", limit=LONGEST, **fields)
        first = next(answers, None)
        if first is None:
            raise NoAnswer("the connection was closed")
        if first["type"] == "failed":
            raise Problem(Code.FAILED, f"stop: {first['error']}")
        limit = min(max(first["limit"], 0.0), LONGEST) + _MARGIN
    except NoAnswer:
        # A mute master still gets the signal; a stopped one would not take it.
        daemon.signal(Signals.SIGTERM)
        daemon.signal(Signals.SIGCONT)
        answers = None
        known = daemon.state()
        limit = (known.timeout if known else 0.0) + _BY_SIGNAL
    if not daemon.process.wait(limit - (time.monotonic() - began)):
        daemon.signal(Signals.SIGQUIT)
        if not daemon.process.wait(_AFTER_QUIT):
            if not kill:
                raise Problem(
                    Code.TIMED_OUT,
                    f"pid {daemon.process.pid} has not stopped; --kill would kill it, and the "
                    "next start would recover its jobs",
                )
            daemon.kill()
            text = "it did not stop and was killed; the next start recovers its jobs"
            return Code.PARTIAL, text, 0
    last: dict[str, Any] = {}
    if answers is not None:
        answers.hurry(_MARGIN)
        last = next((message for message in answers if message["type"] == "done"), {})
    # A daemon of an older version does not count them.
    returned = last.get("returned", 0)
    return (Code.PARTIAL, last["text"], returned) if last.get("code") else (Code.DONE, "", returned)


@jobctl.command(short_help="Print what every thread is doing, and with which job.")
@click.pass_obj
def threads(find: Finder) -> int:
    """Print what every thread of every process is doing, and with which job."""
    daemon = find()
    try:
        return _answered(daemon.ask("threads"))
    except NoAnswer as problem:
        with limit.within(limit.FILES, "the files of the daemon cannot be read"):
            for part in rawstacks.collect(daemon):
                click.echo(shown(part, lines=True))
        raise Problem(Code.PARTIAL, f"{problem}: hence raw stacks, or none") from None


def _answered(answers: Iterator[dict[str, Any]]) -> int:
    for message in answers:
        if message["type"] == "text":
            click.echo(shown(message["text"], lines=True))
        elif message["type"] == "done":
            if message["raw"]:
                _say(f"no answer, hence raw or no stacks: {', '.join(message['raw'])}")
                return Code.PARTIAL
            return Code.DONE
        elif message["type"] == "failed":
            raise Problem(Code.FAILED, f"threads: {message['error']}")
    raise Problem(Code.FAILED, "threads: the daemon ended before it was done")


@jobctl.command("reopen-logs", short_help="Open the log file anew in all processes.")
@click.pass_obj
def reopen_logs(find: Finder) -> None:
    """Have all processes open the log file anew; for logrotate, after the move."""
    daemon = find()
    try:
        daemon.result("reopen")
    except NoAnswer as problem:
        daemon.signal(Signals.SIGUSR2)
        raise Problem(
            Code.PARTIAL, f"{problem}; a signal was sent, but who has reopened is not known"
        ) from None
    click.echo("all processes have reopened the log")


@jobctl.command(short_help="Read the settings again and replace all workers.")
@click.option("--wait", is_flag=True, help="Return when the last new worker is ready.")
@click.pass_obj
def reload(find: Finder, wait: bool) -> None:
    """Read the settings again and replace all workers by new ones with fresh code.

    One after the other, beside the old ones, which finish their jobs. If a new worker cannot boot,
    the old ones stay. Without --wait it returns when the reload has begun.

    A quiet daemon takes the settings and makes the new workers when it is resumed; that is not
    waited for, and the exit code of --wait is 4 then.
    """
    daemon = find()
    try:
        _reload(daemon, wait)
    except NoAnswer as problem:
        daemon.signal(Signals.SIGHUP)
        raise Problem(
            Code.PARTIAL, f"{problem}; a signal was sent, but what came of it is not known"
        ) from None


def _slot(_context: click.Context, _argument: click.Parameter, given: str) -> int:
    """A worker's number, also out of its name as ``jobctl status`` shows it."""
    number = given.removeprefix("worker.")
    if not (number.isascii() and number.isdecimal()):
        raise click.BadParameter(f"{given} is no worker: give its number, or worker.0")
    return int(number)


@jobctl.command(short_help="Replace one worker, which finishes its jobs.")
@click.argument("slot", callback=_slot)
@click.pass_obj
def retire(find: Finder, slot: int) -> None:
    """Replace the worker in SLOT (0 or worker.0) by a new one; it finishes its jobs.

    As when it has reached max_jobs: one worker at a time, and it stays if the new one does not get
    ready. Returns when that has been noted; `jobctl status` shows the rest.
    """
    answer = find().result("retire", slot=slot)
    click.echo(shown(f"worker.{slot}, pid {answer['pid']}, will be replaced"))


@jobctl.command(short_help="Go on with so many workers.")
@click.argument("workers", type=click.IntRange(min=1))
@click.pass_obj
def scale(find: Finder, workers: int) -> None:
    """Go on with so many WORKERS, until the end or a reload that says otherwise.

    Those that are too many (the highest numbers) finish their jobs and leave. Returns when that has
    been noted; `jobctl status` shows the rest.
    """
    answer = find().result("scale", workers=workers)
    before, leaving = answer["before"], answer["leaving"]
    click.echo(shown(f"{before} -> {workers} workers"))
    for role, pid in leaving.items():
        click.echo(shown(f"{role}, pid {pid}, leaves when its jobs have ended"))


def _reload(daemon: Daemon, wait: bool) -> None:
    for message in daemon.ask("reload", limit=LONGEST if wait else LAST_ANSWER):
        if message["type"] == "accepted" and not wait:
            click.echo("reloading")
            return
        if message["type"] == "progress":
            click.echo(paragraph(message["text"]))
        elif message["type"] == "done" and message.get("postponed"):
            if wait:
                raise Problem(Code.PARTIAL, f"reload: {_POSTPONED}")
            click.echo(_POSTPONED)
            return
        elif message["type"] == "done":
            click.echo(shown(f"reloaded: generation {message['generation']} is complete"))
            return
        elif message["type"] == "failed":
            raise Problem(Code.FAILED, f"reload: {message['error']}")
    raise Problem(Code.FAILED, "reload: the daemon ended before it was done")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    any_text_prints()
    try:
        result: Any = jobctl.main(args=argv, prog_name="jobctl", standalone_mode=False)
        return int(result or Code.DONE)
    except Problem as problem:
        return _complain(str(problem), problem.code)
    except NoAnswer as problem:
        return _complain(f"{problem}; jobctl threads shows what it does", Code.TIMED_OUT)
    except ConfigError as error:
        return _complain(f"{error} (with -P PIDFILE no configuration is read)", Code.USAGE)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context is not None else ""
        return _complain(error.format_message().rstrip(".") + hint, Code.USAGE)
    except (click.Abort, KeyboardInterrupt):
        # What was asked for goes on: it is the daemon that does it.
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has had enough; nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.DONE


def _complain(text: str, code: int) -> int:
    _say(text)
    return code


def _say(text: str) -> None:
    click.echo(f"jobctl: {paragraph(text)}", err=True)


if __name__ == "__main__":
    sys.exit(main())
