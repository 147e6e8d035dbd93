"""What people type and mean something else: names the command that does it.

jobd starts daemons, jobctl controls those that run, and the dashboard is for what is in Redis;
which of them has a command is easily mistaken. A near miss is named only if it is likely to be one:
of ``top`` it must not be said that ``stop`` was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import click

_LIKELY = 0.76

_STATUS = "jobctl status shows what the daemon does (watch -n 1 jobctl status: again and again)"
_STOP = "jobctl stop stops the daemon (--timeout 0: at once), and --kill kills one that does not"
_AGAIN = (
    "jobctl reload replaces the workers, with fresh code and settings; for a new master, jobctl "
    "stop and then jobd start with the flags of before, or systemctl restart"
)
_DATA = "what is in Redis is shown and changed in the dashboard, jobd web, and by jobd.api"
_LOG = "jobctl status shows where the log is; under systemd, journalctl -u jobd"
_PAUSE = (
    "jobctl quiet has it take no new jobs, whatever the queue; a queue is paused in the dashboard, "
    "jobd web"
)
_WEB = "the dashboard is served by jobd web"

_MEANT = {
    **dict.fromkeys(("top", "ps", "ls", "list", "info", "show", "workers", "stats"), _STATUS),
    **dict.fromkeys(("kill", "halt", "shutdown", "quit", "term", "terminate", "exit"), _STOP),
    **dict.fromkeys(("restart", "hup", "rolling-restart", "phased-restart", "upgrade"), _AGAIN),
    **dict.fromkeys(
        ("queues", "queue", "jobs", "job", "retry", "retries", "dead", "delete", "clear", "purge"),
        _DATA,
    ),
    **dict.fromkeys(("log", "logs", "tail"), _LOG),
    **dict.fromkeys(("dashboard", "ui", "server"), _WEB),
    **dict.fromkeys(("pause", "tstp", "drain"), _PAUSE),
    **dict.fromkeys(
        ("unpause", "continue", "cont"),
        "jobctl resume has it take jobs again; a queue that was paused is resumed in the dashboard",
    ),
    **dict.fromkeys(
        ("stacks", "stack", "dump", "backtrace", "traceback", "ttin"),
        "jobctl threads prints what every thread is doing",
    ),
    **dict.fromkeys(("rotate", "reopen", "usr2"), "jobctl reopen-logs has it open its log again"),
    **dict.fromkeys(("health", "ping", "healthcheck"), "jobctl status --check, for monitoring"),
    **dict.fromkeys(
        ("worker", "work", "serve", "daemon"),
        "jobd run works in the foreground, jobd start detaches",
    ),
}

_AT_ONCE = "--timeout 0 stops at once, and --kill kills what does not stop"
_OPTIONS = {
    ("stop", "--force"): _AT_ONCE,
    ("stop", "--now"): _AT_ONCE,
    ("stop", "-f"): _AT_ONCE,
    ("stop", "-9"): _AT_ONCE,
    ("stop", "-t"): "--timeout SECONDS says how long jobs may run on",
    ("reload", "-t"): "--wait --timeout SECONDS says how long to wait",
    ("status", "--watch"): "watch -n 1 jobctl status shows it again and again",
    ("status", "-w"): "watch -n 1 jobctl status shows it again and again",
    ("status", "-f"): "watch -n 1 jobctl status shows it again and again",
    ("status", "--quiet"): "--check answers in a line and by the exit code",
    ("status", "-q"): "--check answers in a line and by the exit code",
}
_BESIDE = {
    "stop": "it stops the whole daemon; --timeout SECONDS says how long jobs may run on, and "
    "jobctl retire worker.0 replaces one worker",
    "quiet": "it quiets the whole daemon; USR1 to its process id quiets one worker, and a queue is "
    "paused in the dashboard",
    "resume": "it resumes the whole daemon; a queue that was paused is resumed in the dashboard",
    "reload": "it replaces all workers; jobctl retire worker.0 replaces one",
    "status": "it shows all processes; jobctl threads worker.0 shows what one of them does",
    "reopen-logs": "it is done by all processes",
}
"""What is to be said of an argument that a command does not take."""

COMMANDS = {
    "jobd": ("start", "run", "check", "web", "web-password", "demo", "version"),
    "jobctl": (
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
"""The commands of both tools: each knows those of the other by name only."""

_OF_THE_GROUP = {"jobctl": ("-P", "--pidfile", "-C", "--config")}


class Group(click.Group):
    """A group of commands that explains the names that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            tool = str(ctx.info_name)
            raise click.UsageError(_unknown(tool, args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)


def _unknown(tool: str, name: str, known: Iterable[str]) -> str:
    if name == "help":
        return f"{tool} --help lists the commands"
    if name in COMMANDS["jobctl" if tool == "jobd" else "jobd"]:
        if tool == "jobd":
            return f"a running daemon is controlled by jobctl: jobctl {name}"
        starts = name in ("start", "run")
        return f"{'a daemon is started by jobd' if starts else 'that is done by jobd'}: jobd {name}"
    if meant := _MEANT.get(name.lower().replace("_", "-")):
        return f"{tool} has no command {name}: {meant}"
    close = get_close_matches(name.lower(), [*known], n=1, cutoff=_LIKELY)
    return f"{tool} has no command {name}" + (f"; did you mean {close[0]}?" if close else "")


def explained(error: click.ClickException) -> str:
    """What is wrong with a command line, and where to read on."""
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return text
    if isinstance(error, click.NoSuchOption):
        text += _misplaced(error.option_name, context)
        if meant := _OPTIONS.get((str(context.info_name), error.option_name)):
            text += f": {meant}"
    elif "unexpected extra argument" in text and (meant := _BESIDE.get(str(context.info_name))):
        text += f": {meant}"
    elif "unexpected extra argument" in text and _has(context.command, "-r", context):
        text += "; the application is given with -r"
    return f"{text}; see {context.command_path} --help"


def _misplaced(option: str, context: click.Context) -> str:
    """Where the option belongs that stands on the wrong side of the command."""
    tool, below = context.find_root().info_name, context.info_name
    if context.parent is not None and option in _OF_THE_GROUP.get(str(tool), ()):
        return f" here: it goes before the command, {tool} {option} … {below}"
    if context.parent is None and isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            if _has(command, option, context):
                return f" before a command: it goes behind it, {tool} {name} {option} …"
    return ""


def _has(command: click.Command, option: str, context: click.Context) -> bool:
    below = click.Context(command, parent=context)
    return any(option in parameter.opts for parameter in command.get_params(below))
