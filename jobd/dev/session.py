"""A session of ``jobd dev``: starts server, daemon and dashboard, and reloads what changes.

One thread does all of it in turns: code that has changed, answers of the daemon, processes that
have ended. After an error it keeps watching, because the next save may repair it.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from jobd.dev.daemon import Daemon
from jobd.dev.dashboard import Dashboard
from jobd.dev.plan import Plan, arguments, plan
from jobd.errors import ApplicationError, ConfigError, UnavailableError
from jobd.jobs.loading import Trial, attempt
from jobd.settings import redis_url
from jobd.settings.load import find_file
from jobd.testing.scratch import Scratch
from jobd.testing.server import EmbeddedServer

TURN_MS = 100
_STUCK_SECONDS = 5.0
_STOP_SECONDS = 40.0
_STAYS = "the old code keeps running; save a correction"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was given.

    Attributes:
        config: ``--config``.
        flags: the settings, by name.
        watch: directories whose code is watched, too.
        dashboard: whether to start it.
    """

    config: str | None
    flags: Mapping[str, object]
    watch: tuple[Path, ...]
    dashboard: bool


class Session:
    """Everything that one ``jobd dev`` runs. A context manager, which reads the settings when it is
    entered and stops everything at its end.

    Args:
        say: prints a line for the developer.
        signals: how many signals have asked for the end so far.
    """

    def __init__(self, options: Options, say: Say, signals: Callable[[], int]) -> None:
        self._options = options
        self._say = say
        self._signals = signals
        self._end = ExitStack()
        self._daemon: Daemon | None = None
        self._dashboard: Dashboard | None = None
        self._server: EmbeddedServer | None = None
        self._jobs: dict[str, str] | None = None
        self._served: set[str] = set()
        self._ready = False
        self._began = 0.0
        self._reloading = False

    def __enter__(self) -> Session:
        # Python takes a compiled file for current if the source has the same size and was saved
        # within the same second.
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        self._plan, self._stat = self._read(), self._stat_of_file()
        scratch = Scratch("dev")
        self._scratch = scratch.path
        self._end.callback(scratch.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_daemon()
        if self._dashboard is not None:
            self._dashboard.stop()
        self._end.close()

    def start(self) -> None:
        """Start everything; call it when the directories are watched already.

        Raises:
            UnavailableError: there is no server.
        """
        self._open_redis()
        if self._options.dashboard:
            self._open_dashboard()
        shown = ", ".join(map(str, self.watched))
        self._say(f"watching {shown}; Ctrl-C ends everything")
        self._start_daemon()

    @property
    def watched(self) -> Sequence[Path]:
        """The directories whose code is watched."""
        return self._plan.watched(self._options.watch)

    def turn(self, changed: Iterable[str]) -> bool:
        """Handle what has happened; *changed* are the names of files that were saved. Returns
        whether the directories to watch are the same."""
        names = sorted({Path(one).name for one in changed})
        if self._stat != (stat := self._stat_of_file()):
            self._stat = stat
            return self._reconfigure()
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            self._changed(", ".join(names[:3]) + more)
        self._look()
        return True

    # -- the settings ----------------------------------------------------------------------------

    def _read(self) -> Plan:
        return plan(self._options.config, os.environ, self._options.flags)

    def _stat_of_file(self) -> tuple[int, int, int] | None:
        file = find_file(self._options.config, os.environ)
        try:
            found = Path(file).stat() if file else None
        except OSError:
            return None
        return found and (found.st_ino, found.st_size, found.st_mtime_ns)

    def _reconfigure(self) -> bool:
        try:
            found = self._read()
        except (ConfigError, ApplicationError) as error:
            self._say(f"the settings stay as they were: {error}")
            return True
        before, self._plan = self._plan, found
        self._say("the configuration file has changed: starting again")
        self._stop_daemon()
        try:
            if before.config.redis != found.config.redis:
                self._open_redis()
            if self._dashboard is not None:
                self._dashboard.stop()
                self._open_dashboard()
        except UnavailableError as error:
            self._say(str(error))
        self._start_daemon()
        return before.watched(()) == found.watched(())

    # -- Redis and the dashboard -----------------------------------------------------------------

    def _open_redis(self) -> None:
        url = self._plan.config.redis
        if "redis" in self._plan.given:
            self._say(f"Redis: {redis_url.redact(url)}")
        elif self._server is not None:
            pass
        elif _serves(address := redis_url.read(url).hosts[0]):
            self._say(f"Redis: {url}, which was there already")
        else:
            # At the address that programs use without any setting, so that pushes reach it.
            self._server = self._end.enter_context(EmbeddedServer(tcp=True, port=address[1]))
            self._say(f"Redis: {url}, started for this session; its data ends with it")

    def _open_dashboard(self) -> None:
        words = [f"--config={self._plan.file}"] if self._plan.file else []
        self._dashboard = Dashboard(words, self._options.flags, self._scratch / "web.out")
        self._say(self._dashboard.start())

    # -- the daemon ------------------------------------------------------------------------------

    def _start_daemon(self) -> None:
        config = self._plan.config
        self._daemon, self._ready, self._reloading = None, False, False
        trial = self._import()
        if self._signals():
            return
        if trial.error:
            self._say(f"{trial.error}\nit starts again when a file changes")
            return
        self._list(trial)
        words = self._plan.words
        self._served = {one.name for one in config.queues}
        if self._plan.all_queues and (more := config.unserved(trial.queues)):
            queues = (*map(str, config.queues), *more)
            words = (*words, *arguments({"queues": queues}))
            self._served.update(more)
        pidfile = Path(self._plan.pidfile or self._scratch / "jobd.pid")
        self._began = time.monotonic()
        self._daemon = Daemon(words, pidfile, whole_log=config.log_level == "debug")
        self._say(f"jobctl -P {pidfile} status shows what it does")

    def _import(self) -> Trial:
        """Import the application, in a process of its own."""
        config = self._plan.config
        return attempt(
            config.require, config.directory, config.boot_timeout, lambda: self._signals() > 0
        )

    def _stop_daemon(self) -> None:
        daemon = self._daemon
        if daemon is None or daemon.code is not None:
            return
        before = self._signals()
        daemon.send(signal.SIGTERM)
        deadline, hurried = time.monotonic() + _STOP_SECONDS, False
        while not daemon.ended_within(0.1):
            if not hurried and self._signals() > before:
                daemon.send(signal.SIGQUIT)
                hurried = True
            if time.monotonic() > deadline:
                daemon.send(signal.SIGKILL)

    def _changed(self, what: str) -> None:
        daemon = self._daemon
        if daemon is None or daemon.code is not None or not self._ready:
            self._again(f"{what} changed: starting again")
        elif self._plan.config.preload:
            self._again(f"{what} changed: starting again, because of preload")
        elif self._reloading and time.monotonic() - self._began > _STUCK_SECONDS:
            self._again(f"{what} changed while the last reload hangs: starting again")
        else:
            self._say(f"{what} changed: reloading")
            self._began = time.monotonic()
            try:
                daemon.reload()
            except OSError as error:
                self._again(f"the daemon cannot be reached ({error}): starting again")
            else:
                self._reloading = True

    def _again(self, why: str) -> None:
        self._say(why)
        self._stop_daemon()
        self._start_daemon()

    def _look(self) -> None:
        daemon = self._daemon
        if daemon is None:
            return
        if daemon.code is not None:
            self._daemon = None
            daemon.ended_within(0)
            self._say(f"the daemon has exited with code {daemon.code}; waiting for a change")
        elif not self._ready and daemon.runs():
            self._ready = True
            self._say("ready")
        for said in daemon.answers():
            if said.type == "failed":
                self._reloading = False
                self._say(f"not reloaded: {said.error}\n{_STAYS}")
            elif said.type == "done":
                self._reloading = False
                self._say(f"reloaded in {time.monotonic() - self._began:.1f} s")
                self._reloaded()

    def _reloaded(self) -> None:
        trial = self._import()
        if trial.error:
            return  # saved again meanwhile: the next turn tells
        unserved = self._plan.config.unserved(trial.queues)
        new = [name for name in unserved if name not in self._served]
        if new and self._plan.all_queues:
            self._again(f"starting again, to serve the queue {', '.join(new)}")
        else:
            self._list(trial)

    def _list(self, trial: Trial) -> None:
        """Print the jobs; of those known already, only what has changed."""
        found, before = dict(trial.found), self._jobs
        self._jobs = found
        if found == before:
            return
        lines = [
            f"  {name}  (queue {queue})"
            for name, queue in found.items()
            if before is None or before.get(name) != queue
        ]
        lines += [f"  {name} is gone" for name in before or () if name not in found]
        if not found:
            self._say("the application has no jobs yet: put @job above a function")
        elif before is None:
            self._say("\n".join([f"{len(found)} job{'s' * (len(found) != 1)}:", *lines]))
        else:
            self._say("\n".join(["jobs:", *lines]))


def _serves(address: tuple[str, int]) -> bool:
    """Whether a program listens there."""
    try:
        with socket.create_connection(address, timeout=1.0):
            return True
    except OSError:
        return False
