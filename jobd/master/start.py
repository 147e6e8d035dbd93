"""``jobd start`` and ``jobd run``: from the command line to a running master.

``start`` takes the pidfile's lock in the foreground, so that a second start is refused at the
prompt; then a launcher waits until the daemon reports its start and exits with its code.
``run`` does the same work without detaching, for systemd, containers and development.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import daemon

from jobd.errors import ConfigError, Exit, JobdError, PidfileError
from jobd.master import privileges
from jobd.master.control import control_socket
from jobd.master.files import paths, pidfile
from jobd.master.health import stop_timeout_check
from jobd.master.main import Master
from jobd.master.stop import AFTERWARDS
from jobd.runtime.ipc.launch import Launch, Verdict, await_verdict
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.process import descriptors
from jobd.runtime.process.sdnotify import Notifier
from jobd.runtime.process.signals import MASTER_SIGNALS
from jobd.runtime.process.titles import place
from jobd.settings import workdir
from jobd.settings.daemon import Config
from jobd.text.printable import paragraph, text_of

_UMASK = 0o027
_LAUNCHER_EXTRA = 10.0
_ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}

logger = log.get("jobd.master")


def run(config: Config, reread: Callable[[], Config], file: str | None = None) -> int:
    """Serve in the foreground until stopped; returns the exit code.

    Args:
        reread: reads the settings again for a reload, and raises ConfigError.
        file: the configuration file.
    """
    lock = None
    terminal = os.isatty(0)
    # From the pidfile on there is something to clean up: signals that arrive before the handlers
    # are installed stay pending, and then cause a normal stop.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, MASTER_SIGNALS)
    try:
        _guarantee_stdio()
        privileges.assume(config, file)
        workdir.remember()
        workdir.require(config.directory)
        descriptors.provide(config.concurrency, config.workers)
        where = place(file)
        lock = _lock(config, required=bool(config.pidfile))
        logfile = LogFile.open(config.logfile)
    except JobdError as error:
        if lock is not None:
            lock.remove()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return _refuse(error)
    notifier = Notifier.take(os.environ)
    os.chdir(config.directory or Path.cwd())
    log.configure(logfile, config.log_level, config.log_format, "master", config.log_max_value)
    _warn_of_root(config)
    stop_timeout_check.warn_of_short_stop(config, extends=notifier.connected)
    if lock is None:
        logger.warning(
            "no_pidfile",
            reason=_without_pidfile(),
        )
    verdict = Master(
        config,
        logfile=logfile,
        lock=lock,
        foreground=True,
        terminal=terminal,
        place=where,
        notifier=notifier,
        reread=reread,
    ).run()
    # The interpreter removes the handlers before it exits; a TERM in between would turn a clean
    # stop into a failure.
    signal.pthread_sigmask(signal.SIG_BLOCK, MASTER_SIGNALS)
    if verdict.code:
        logfile.complain(f"jobd: {paragraph(verdict.text)}\n".encode())
    return verdict.code


def start(
    config: Config, reread: Callable[[], Config], file: str | None = None, *, wait: bool = True
) -> int:
    """Detach, and return when all workers are ready (``wait=False``: when the daemon exists).

    Args:
        reread: as for :func:`run`.
        file: as for :func:`run`.

    Returns:
        the exit code for the launcher, 0 or what the daemon failed with.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, MASTER_SIGNALS)  # as above
    try:
        _guarantee_stdio()
        if not config.logfile:
            raise ConfigError(
                "a detached daemon has no terminal to log to: give --logfile "
                "(or logfile in the configuration), or stay in the foreground with jobd run"
            )
        privileges.assume(config, file)
        workdir.remember()
        workdir.require(config.directory)
        descriptors.provide(config.concurrency, config.workers)
        lock = _lock(config, required=True)
    except JobdError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return _refuse(error)
    if lock is None:
        raise AssertionError("a required pidfile was not locked")
    if any(signal.getsignal(one) != signal.SIG_IGN for one in signal.sigpending() & _ENDS):
        # It came when there was only the pidfile: clean up and do not start.
        lock.remove()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Exit.INTERRUPTED
    directory = config.directory or str(Path.cwd())
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _become_daemon(config, reread, lock, Launch(writer), directory, wait)
    os.close(writer)
    lock.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    limit = config.start_timeout + config.timeout + AFTERWARDS + _LAUNCHER_EXTRA
    try:
        verdict = await_verdict(reader, limit)
    except KeyboardInterrupt:
        verdict = Verdict(Exit.INTERRUPTED, "interrupted; the daemon is still starting")
    if verdict.code:
        print(f"jobd: {paragraph(verdict.text)}", file=sys.stderr)
    else:
        _say(
            f"jobd: {'started' if wait else 'starting'}, pid {verdict.pid}, "
            f"pidfile {lock.path}, log {config.logfile}"
        )
    return verdict.code


def _say(text: str) -> None:
    """Print a line; a closed standard output must not turn a successful start into a failure."""
    try:
        print(paragraph(text), flush=True)
    except OSError:
        # Unwritten output is tried again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _DaemonLog(LogFile):
    """The log of a detached daemon, which also receives standard output and standard error."""

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd, path)
        self._redirect()

    def reopen(self) -> str | None:
        error = super().reopen()
        self._redirect()
        return error

    def _redirect(self) -> None:
        os.dup2(self.fd, 1)
        os.dup2(self.fd, 2)


def _become_daemon(
    config: Config,
    reread: Callable[[], Config],
    lock: pidfile.Pidfile,
    launch: Launch,
    directory: str,
    wait: bool,
) -> NoReturn:
    """The rest of the daemon's life, in a child of the launcher; never returns to its caller."""
    try:
        context = daemon.DaemonContext(
            detach_process=True,
            working_directory=directory,
            umask=_UMASK,
            prevent_core=False,
            files_preserve=[*lock.filenos(), launch.fileno()],
            signal_map={},
            pidfile=None,
        )
        context.open()
        # It would run in every process forked from here on.
        atexit.unregister(context.close)
        lock.adopt()
        logfile = _DaemonLog.open(config.logfile)
        log.configure(logfile, config.log_level, config.log_format, "master", config.log_max_value)
        _warn_of_root(config)
        Notifier.take(os.environ)  # the service manager waits for the launcher, not for us
        stop_timeout_check.warn_of_short_stop(config, extends=False)
        master = Master(
            config,
            logfile=logfile,
            lock=lock,
            foreground=False,
            launch=launch,
            wait=wait,
            reread=reread,
        )
        verdict = master.run()
    except Exception as error:  # noqa: BLE001 - translated: it must not reach the launcher's stack
        # The master reports its own errors; this one came before, and there may be no log yet.
        verdict = _why_not(error)
        lock.adopt()
        lock.remove()
        launch.report(verdict)
    _leave(verdict.code)


def _why_not(error: Exception) -> Verdict:
    if isinstance(error, JobdError):
        return Verdict(error.exit_code, str(error))
    if isinstance(error, (OSError, daemon.daemon.DaemonError)):
        return Verdict(Exit.OS_ERROR, f"cannot detach: {error}")
    return Verdict(Exit.SOFTWARE, f"cannot detach: {type(error).__name__}: {text_of(error)}")


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _refuse(error: JobdError) -> int:
    print(f"jobd: {paragraph(str(error))}", file=sys.stderr)
    return error.exit_code


def _warn_of_root(config: Config) -> None:
    if os.geteuid() == 0 and not config.user:
        logger.warning(
            "running_as_root",
            advice="jobs run as root, so a faulty job can damage the system; give --user, or start "
            "jobd as another user (--user root turns this warning off)",
        )


def _without_pidfile() -> str:
    """Why there is no pidfile, and what to do."""
    directory = pidfile.DEFAULT.parent
    why = (
        f"uid {os.geteuid()} may not write to {directory}"
        if directory.is_dir()
        else f"the directory {directory} does not exist"
    )
    return (
        f"{why}, so there is no pidfile and no control socket: jobctl cannot reach this daemon, "
        f"only signals can. Create the directory for uid {os.geteuid()}, or give --pidfile (in a "
        "container: --pidfile /tmp/jobd.pid, and the same to jobctl)"
    )


def _lock(config: Config, *, required: bool) -> pidfile.Pidfile | None:
    """The locked pidfile; None if it is not required and its directory is not usable."""
    path = Path(config.pidfile) if config.pidfile else pidfile.DEFAULT
    if not required and not os.access(path.parent, os.W_OK | os.X_OK):
        return None
    lock = pidfile.Pidfile.lock(path)
    if why := listening(lock.path):
        lock.remove()
        raise PidfileError(why)
    return lock


def listening(path: Path) -> str:
    """A sentence about a running daemon whose pidfile *path* was removed, if its socket still
    answers; otherwise "".
    """
    try:
        with control_socket.connect(paths.socket_path(path)) as answering:
            pid, _uid = control_socket.peer(answering)
    except (BlockingIOError, TimeoutError):
        pid = None  # it listens, but does not answer
    except OSError:
        return ""
    return (
        f"jobd is already running, {f'pid {pid}' if pid else 'and hangs'}, although its pidfile "
        f"{path} was removed; stop it first"
    )


def _guarantee_stdio() -> None:
    """Open closed standard streams: otherwise the lock and the log would get their numbers."""
    for fd in (0, 1, 2):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # The interpreter has no stream for a descriptor that was closed at its start.
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
