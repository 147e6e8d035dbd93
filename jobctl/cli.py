"""The command ``jobctl``: the list of its commands, and how each of them may end.

A command is imported when it runs (:mod:`jobctl.lazy`): those that control a daemon on this host
from :mod:`jobctl.daemon`, those that look at jobs in Redis and change them from
:mod:`jobctl.data`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from jobctl import lazy, options
from jobctl.codes import Code, Problem
from jobctl.lazy import Entry
from jobctl.say import say
from jobd.cli import hints
from jobd.text.printable import any_text_prints

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_DAEMON = "jobctl.daemon.commands"
_DATA = "jobctl.data"

COMMANDS = {
    "Jobs in Redis": {
        "stats": Entry(f"{_DATA}.stats:stats", "Show how many jobs wait, run, failed and died."),
        "tail": Entry("jobctl.tail.command:tail", "Show what happens to jobs, line by line."),
        "top": Entry("jobctl.top.command:top", "Watch and control everything on the full screen."),
        "why": Entry(f"{_DATA}.why:why", "Say why a job does not run."),
        "jobs": Entry(f"{_DATA}.jobs:jobs", "Find jobs wherever they are, and act on one."),
        "queues": Entry(f"{_DATA}.queues:queues", "List, pause, resume, clear and move queues."),
        "retries": Entry(f"{_DATA}.sets:retries", "Jobs that have failed and will be retried."),
        "scheduled": Entry(f"{_DATA}.sets:scheduled", "Jobs that wait for their time."),
        "dead": Entry(f"{_DATA}.sets:dead", "Jobs that will not be retried."),
        "groups": Entry(f"{_DATA}.groups:groups", "Group failed jobs by what went wrong."),
        "cron": Entry(
            f"{_DATA}.features.cron:cron", "The periodic jobs: when they are due; pause, run."
        ),
        "batch": Entry(
            f"{_DATA}.features.batch:batch", "Jobs that were pushed together; wait, cancel, repair."
        ),
        "workflow": Entry(
            f"{_DATA}.features.workflow:workflow", "Steps that depend on each other; retry, cancel."
        ),
        "processes": Entry(f"{_DATA}.processes:processes", "The worker processes of all hosts."),
        "push": Entry(f"{_DATA}.push:push", "Push a job by the name of its class."),
        "wait": Entry(f"{_DATA}.wait:wait", "Wait until a job has ended."),
        "export": Entry(f"{_DATA}.files.exporting:export", "Write jobs to a file of JSON lines."),
        "import": Entry(
            f"{_DATA}.files.importing:import_", "Put the jobs of such a file into Redis."
        ),
        "audit": Entry(f"{_DATA}.audit:audit", "Show who has changed what."),
        "trash": Entry(f"{_DATA}.trash:trash", "Show and restore what was deleted."),
    },
    "The daemon on this host": {
        "status": Entry(f"{_DAEMON}:status", "Show what the daemon and its workers are doing."),
        "threads": Entry(
            f"{_DAEMON}:threads", "Print what every thread is doing, and with which job."
        ),
        "quiet": Entry(f"{_DAEMON}:quiet", "Stop fetching jobs; running jobs continue."),
        "resume": Entry(f"{_DAEMON}:resume", "Resume fetching jobs after quiet."),
        "reload": Entry(f"{_DAEMON}:reload", "Read the settings again and replace all workers."),
        "retire": Entry(f"{_DAEMON}:retire", "Replace one worker, which finishes its jobs."),
        "scale": Entry(f"{_DAEMON}:scale", "Change the number of workers."),
        "stop": Entry(f"{_DAEMON}:stop", "Stop the daemon, and return when it has exited."),
        "reopen-logs": Entry(f"{_DAEMON}:reopen_logs", "Reopen the log file in all processes."),
    },
    "Diagnosis": {
        "doctor": Entry(
            "jobctl.doctor.command:doctor", "Check this host, Redis and the fleet; say what to do."
        ),
        "redis": Entry(
            "jobctl.doctor.redis:redis", "What Redis is asked, its memory, and its growth."
        ),
        "tune": Entry("jobctl.tune.command:tune", "Measure jobs; calculate workers and threads."),
        "chaos": Entry(
            "jobctl.chaos.command:chaos", "Kill daemons of its own; prove that nothing is lost."
        ),
    },
    "This tool": {
        "completion": Entry("jobctl.shell:completion", "Print a script that completes commands."),
        "man": Entry("jobctl.man:man", "Write the manual pages of all commands."),
    },
}


class _Tool(lazy.Group):
    """All commands; that the reader of the output has gone (``| head``) is no failure."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1
            _drop_output()
            return Code.DONE


@click.group(
    cls=_Tool,
    context_settings=_HELP,
    no_args_is_help=False,
    invoke_without_command=True,
    sections=COMMANDS,
    params=options.made(options.ALL),
)
@click.version_option(None, "-V", "--version", package_name="pyjobd", message="jobctl %(version)s")
@click.pass_context
def jobctl(context: click.Context) -> None:
    """Look at jobs, change them, and control a running jobd.

    Jobs are looked at in Redis, from any host: --redis, the configuration of the daemon (-C,
    $JOBD_CONFIG, ./jobd.toml) or $JOBD_REDIS names it. A daemon on this host is found by its
    pidfile: --pidfile, $JOBD_PIDFILE, the one that its configuration sets, or /run/jobd/jobd.pid.
    These options may also follow the command.

    Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 no permission or partly done,
    5 timed out, 6 refused because the pidfile does not belong to a jobd, 8 Redis does not answer;
    7 to 10 are those of status --check.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    lazy.helps(context)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    any_text_prints()
    try:
        result: int | None = jobctl.main(args=argv, prog_name="jobctl", standalone_mode=False)
        return result or Code.DONE
    except Problem as problem:
        return _complain(str(problem), problem.code)
    except click.ClickException as error:
        return _complain(hints.explained(error), Code.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", Code.INTERRUPTED)
    except OSError as error:
        if error.filename is not None:
            return _complain(f"{error.filename}: {error.strerror}", Code.FAILED)
        _drop_output()
        return _complain(f"cannot write the output: {error.strerror}", Code.FAILED)


def _drop_output() -> None:
    """Leave nothing to be flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str, code: int) -> int:
    say(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
