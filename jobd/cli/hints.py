"""Hints for unknown commands and options: name the right command.

jobd starts daemons, jobctl controls running ones, and the dashboard is for the data in Redis; it is
easy to confuse them. A similar name is only suggested if it is likely to be meant: ``stop`` must
not be suggested for ``shop``.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import click

_LIKELY = 0.76

_STATUS = "jobctl status shows what the daemon is doing (repeatedly: watch -n 1 jobctl status)"
_STOP = "jobctl stop stops the daemon (--timeout 0: at once), --kill kills it if it does not stop"
_AGAIN = (
    "jobctl reload replaces the workers, with new code and settings; for a new master, use jobctl "
    "stop and then jobd start with the same flags, or systemctl restart"
)
_DATA = (
    "jobctl queues, retries, scheduled, dead and jobs find show the jobs in Redis and change them; "
    "so does the dashboard, jobd web"
)
_LOG = "jobctl status shows where the log is; under systemd, journalctl -u jobd"
_PAUSE = "jobctl queues pause NAME pauses a queue, jobctl quiet stops fetching from all queues"
_WEB = "the dashboard is served by jobd web"

_MEANT = {
    **dict.fromkeys(("ps", "ls", "list", "info", "show", "workers"), _STATUS),
    **dict.fromkeys(("kill", "halt", "shutdown", "quit", "term", "terminate", "exit"), _STOP),
    **dict.fromkeys(("restart", "hup", "rolling-restart", "phased-restart", "upgrade"), _AGAIN),
    **dict.fromkeys(
        ("queue", "job", "retry", "morgue", "schedule", "delete", "clear", "purge"),
        _DATA,
    ),
    **dict.fromkeys(("log", "logs"), _LOG),
    **dict.fromkeys(("dashboard", "ui", "server"), _WEB),
    **dict.fromkeys(("pause", "tstp", "drain"), _PAUSE),
    **dict.fromkeys(
        ("unpause", "continue", "cont"),
        "jobctl queues resume NAME ends the pause of a queue, jobctl resume resumes fetching jobs",
    ),
    **dict.fromkeys(
        ("stacks", "stack", "dump", "backtrace", "traceback", "ttin"),
        "jobctl threads prints what every thread is doing",
    ),
    **dict.fromkeys(("rotate", "reopen", "usr2"), "jobctl reopen-logs reopens the log file"),
    **dict.fromkeys(("health", "ping", "healthcheck"), "use jobctl status --check for monitoring"),
    **dict.fromkeys(
        ("worker", "work", "serve", "daemon"),
        "jobd run runs in the foreground, jobd start detaches",
    ),
}

_AT_ONCE = "--timeout 0 stops at once, --kill kills the daemon if it does not stop"
_OPTIONS = {
    ("stop", "--force"): _AT_ONCE,
    ("stop", "--now"): _AT_ONCE,
    ("stop", "-f"): _AT_ONCE,
    ("stop", "-9"): _AT_ONCE,
    ("stop", "-t"): "--timeout SECONDS limits how long running jobs may take",
    ("reload", "-t"): "--wait --timeout SECONDS limits how long to wait",
    ("status", "--watch"): "use watch -n 1 jobctl status to repeat it",
    ("status", "-w"): "use watch -n 1 jobctl status to repeat it",
    ("status", "-f"): "use watch -n 1 jobctl status to repeat it",
    ("status", "--quiet"): "--check prints one line and sets the exit code",
    ("status", "-q"): "--check prints one line and sets the exit code",
}
_BESIDE = {
    "stop": "it stops the whole daemon; --timeout SECONDS limits how long running jobs may take, "
    "and jobctl retire worker.0 replaces a single worker",
    "quiet": "it quiets the whole daemon; send USR1 to quiet a single worker; jobctl queues pause "
    "NAME pauses a queue",
    "resume": "it resumes the whole daemon; jobctl queues resume NAME ends the pause of a queue",
    "reload": "it replaces all workers; jobctl retire worker.0 replaces a single one",
    "status": "it shows all processes; jobctl threads worker.0 shows what one of them is doing",
    "reopen-logs": "it applies to all processes",
}
"""Hints for arguments that a command does not take."""

COMMANDS = {
    "jobd": ("start", "run", "dev", "new", "check", "web", "web-password", "demo", "version"),
    "jobctl": (
        "stats",
        "tail",
        "top",
        "why",
        "jobs",
        "queues",
        "retries",
        "scheduled",
        "dead",
        "groups",
        "cron",
        "batch",
        "workflow",
        "processes",
        "push",
        "wait",
        "export",
        "import",
        "audit",
        "trash",
        "doctor",
        "redis",
        "tune",
        "chaos",
        "completion",
        "man",
        "status",
        "quiet",
        "resume",
        "stop",
        "threads",
        "reopen-logs",
        "reload",
        "retire",
        "scale",
    ),
}
"""The commands of both tools, so that each can refer to those of the other."""


class Group(click.Group):
    """A command group that gives hints for unknown commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            if ctx.parent is not None:
                raise click.UsageError(_unknown_below(ctx.command_path, args[0], known), ctx)
            raise click.UsageError(_unknown(str(ctx.info_name), args[0], known), ctx)
        return super().resolve_command(ctx, args)


def _unknown(tool: str, name: str, known: Iterable[str]) -> str:
    if name == "help":
        return f"{tool} --help lists the commands"
    if name in COMMANDS["jobctl" if tool == "jobd" else "jobd"]:
        if tool == "jobd":
            return f"use jobctl to control a running daemon: jobctl {name}"
        starts = name in ("start", "run")
        why = "use jobd to start a daemon" if starts else "this is a command of jobd"
        return f"{why}: jobd {name}"
    if meant := _MEANT.get(name.lower().replace("_", "-")):
        return f"{tool} has no command {name}: {meant}"
    close = get_close_matches(name.lower(), [*known], n=2, cutoff=_LIKELY)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{tool} has no command {name}{hint}"


def _unknown_below(path: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name.lower(), known, n=1, cutoff=_LIKELY)
    hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(known)}"
    return f"{path} has no command {name}{hint}"


def explained(error: click.ClickException) -> str:
    """The error message for a command line, with a hint and the help command."""
    unknown = isinstance(error, click.NoSuchOption)
    text = (error.message if unknown else error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return text
    if isinstance(error, click.NoSuchOption):
        if error.option_name == "--yes":
            text += ": this command does not ask"
        if close := _alike(error.option_name, error.possibilities or ()):
            text += f"; did you mean {' or '.join(close)}?"
        text += _misplaced(error.option_name, context)
        if meant := _OPTIONS.get((str(context.info_name), error.option_name)):
            text += f": {meant}"
    elif "unexpected extra argument" in text and (meant := _BESIDE.get(str(context.info_name))):
        text += f": {meant}"
    elif "unexpected extra argument" in text and _has(context.command, "-r", context):
        text += "; give the application with -r"
    return f"{text}; see {context.command_path} --help"


def _alike(option: str, known: Iterable[str]) -> list[str]:
    """Those of the options *known* that are likely to be meant, whatever their dashes are."""
    name = option.lstrip("-")
    return [one for one in known if get_close_matches(name, [one.lstrip("-")], 1, _LIKELY)]


def _misplaced(option: str, context: click.Context) -> str:
    """A hint if the option is on the wrong side of the command; else ""."""
    tool = context.find_root().info_name
    if context.parent is None and isinstance(context.command, click.Group):
        for name in context.command.commands or context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and _has(command, option, context):
                return f" before a command: give it after the command, {tool} {name} {option} …"
    return ""


def _has(command: click.Command, option: str, context: click.Context) -> bool:
    below = click.Context(command, parent=context)
    return any(option in parameter.opts for parameter in command.get_params(below))
