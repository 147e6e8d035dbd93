"""Loading of the application: imports the modules or files of ``require``, which registers jobs.

Workers load it in their own process; ``jobd check`` uses a child process, because an import may
start threads, open connections or end the process.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from os import _exit
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from jobd.errors import ApplicationError
from jobd.jobs.app import App, default
from jobd.jobs.propagation import propagation
from jobd.runtime.process import forks, single_thread
from jobd.settings.django_project import WORKER, find
from jobd.text import meant
from jobd.text.printable import encode, kind_of, text_of

if TYPE_CHECKING:
    from jobd.settings.daemon import Config

_ANSWER = 60_000  # bytes; a pipe can buffer that much
_LISTED = 200
_TURN = 0.1  # s
_PR_SET_PDEATHSIG = 1


def load_for(config: Config) -> App:
    """Load the application of a daemon. Its jobs push to the daemon's Redis, unless the application
    configures another one.

    Raises:
        ApplicationError: see :func:`load`.
    """
    propagation.follow(lineage=config.lineage)
    url, prefix = config.redis, config.prefix
    default.configure(url, prefix, max_payload=config.max_payload)
    app = load(config.require)
    if not app.configured:
        app.configure(url, prefix, max_payload=config.max_payload)
    return app


def load(require: Iterable[str], directory: str = "") -> App:
    """Import every module or file of *require*; returns the :class:`jobd.App` that one of them
    names, as in ``shop:app``, else the default one.

    *directory* ("" = the current one) is put first on ``sys.path``. A file inside a package is
    imported under its full dotted name, so that its jobs have the same names as when the module is
    imported elsewhere.

    Raises:
        ApplicationError: one cannot be imported, or has no such App; the text says which, why and
            where.

    Example:
        >>> load(["shop.jobs", "./reports/jobs.py"], "/srv/shop")  # doctest: +SKIP
    """
    base = Path(directory).absolute()
    _look_first_in(base)
    apps: dict[str, App] = {}
    require = list(require)
    for given in require:
        name, attribute = _split(given)
        try:
            imported = _import_file(name, base) if _is_file(name) else import_module(name)
            if attribute:
                apps[given] = _app_in(imported, name, attribute)
            forks.end()
        except ApplicationError:
            raise
        except (Exception, SystemExit) as error:
            forks.end(error)
            reason = _reason(given, name, base, error)
            error.__traceback__ = _from_application(error)
            raise ApplicationError(reason) from error
    require_threads()
    if _django_is_missing(directory):
        raise ApplicationError(f"{', '.join(require)}: {_SET_UP}")
    if len(set(apps.values())) > 1:
        raise ApplicationError(
            f"{' and '.join(apps)} are different applications, but a daemon runs only one: start a "
            "daemon for each"
        )
    return next(iter(apps.values()), default)


def _split(given: str) -> tuple[str, str]:
    """The module or file, and the name of the App in it, or ""."""
    name, _, attribute = given.rpartition(":")
    return (name, attribute) if name and attribute.isidentifier() else (given, "")


def _app_in(module: ModuleType, name: str, attribute: str) -> App:
    found = getattr(module, attribute, None)
    if isinstance(found, App):
        return found
    there = [one for one, value in vars(module).items() if isinstance(value, App)]
    if hasattr(module, attribute):
        what = f"{attribute} is of type {type(found).__qualname__}, not a jobd.App"
    else:
        what = f"the module {module.__name__} has no {attribute}"
    instead = " or ".join(f"-r {name}:{one}" for one in there) or f"-r {name}"
    raise ApplicationError(
        f"cannot import the application {name}:{attribute}: {what}; give {instead}"
    )


def _from_application(error: BaseException) -> TracebackType | None:
    """The traceback of *error* without the frames of jobd and the import system above the first
    line of the application."""
    rest = error.__traceback__
    while rest is not None and _loads(rest.tb_frame.f_code.co_filename):
        rest = rest.tb_next
    return rest


def _loads(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen") or filename == importlib.__file__


def require_threads() -> None:
    """Check that the standard library has not been monkey-patched.

    Raises:
        ApplicationError: gevent or eventlet has replaced threads, sockets or locks.
    """
    if patched := _patched():
        raise ApplicationError(
            f"{patched}, but jobd runs jobs in real threads: remove the monkey patching from what "
            "the workers import (for jobs that wait a lot, use async def or a higher concurrency)"
        )


def _patched() -> str:
    """What has been patched in the standard library, and by which library; "" if nothing."""
    by_gevent = getattr(sys.modules.get("gevent.monkey"), "saved", None)
    if by_gevent:
        modules = sorted(name for name in by_gevent if not name.startswith("_gevent"))
        return f"gevent's monkey patching has replaced {', '.join(modules)}"
    by_eventlet = getattr(sys.modules.get("eventlet.patcher"), "already_patched", None)
    if by_eventlet:
        return f"eventlet's monkey patching has replaced {', '.join(sorted(by_eventlet))}"
    return ""


def unforkable(threads: str) -> ApplicationError:
    """The error for an application that cannot be preloaded: its import started *threads*."""
    return ApplicationError(
        f"preload: the application started threads at its import ({threads}); forked workers would "
        "not have them, and their locks could stay locked: start them in a hook, "
        '@on("startup"), or set preload = false'
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of importing the application in a child process.

    Attributes:
        error: why the import failed; "" if it succeeded.
        jobs: number of registered jobs.
        found: name and default queue of each, as far as the answer has room for them.
        queues: those that the jobs go to.
        threads: description of the threads that the import started.
        pushes: where its pushes go, if it called ``jobd.configure``.
    """

    error: str
    jobs: int = 0
    found: tuple[tuple[str, str], ...] = ()
    queues: tuple[str, ...] = ()
    threads: str = ""
    pushes: str = ""


def attempt(
    require: Sequence[str],
    directory: str,
    timeout: float,
    stop: Callable[[], bool] = lambda: False,
) -> Trial:
    """Load the application in a child process, within *timeout* seconds; *stop* says, repeatedly,
    whether to give up earlier."""
    names = ", ".join(require)
    reading, writing = os.pipe()
    # -P: a file in the current directory must not shadow a module of the standard library.
    command = [sys.executable, "-P", "-m", __name__, str(writing), directory, *require]
    with os.fdopen(reading, "rb") as pipe:
        try:
            child = subprocess.Popen(
                command,
                cwd=directory or None,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writing],
                start_new_session=True,
            )
        finally:
            os.close(writing)
        deadline = time.monotonic() + timeout
        try:
            while (code := _ended(child)) is None:
                if time.monotonic() > deadline:
                    return Trial(f"importing {names} took longer than {timeout:g} s")
                if stop():
                    return Trial(f"importing {names} was interrupted")
        finally:
            _end(child)
        # A process that the import started may keep the pipe open, so read only what is there.
        os.set_blocking(reading, False)
        answer = pipe.read() or b""
    if answer:
        found = json.loads(answer)
        return Trial(
            error=found["error"],
            jobs=found["jobs"],
            found=tuple((name, queue) for name, queue in found["found"]),
            queues=tuple(found["queues"]),
            threads=found["threads"],
            pushes=found["pushes"],
        )
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Trial(f"importing {names} ended the process with {how}")


def _ended(child: subprocess.Popen[bytes]) -> int | None:
    """Its exit code; None if it runs for a turn longer."""
    try:
        return child.wait(_TURN)
    except subprocess.TimeoutExpired:
        return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child's process group, including processes that the import started in it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of its processes have exited
    child.wait()


def _look_first_in(directory: Path) -> None:
    text = str(directory)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _is_file(name: str) -> bool:
    """Whether *name* is the name of a file, not of a module."""
    return "/" in name or name.endswith(".py")


def _import_file(name: str, base: Path) -> ModuleType:
    file = (base / Path(name).expanduser()).resolve()
    if not file.is_file():
        what = f"cannot import the application {name}: "
        raise ApplicationError(f"{what}{meant.file(name, base, file)}")
    parts = [file.stem]
    root = file.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if any("." in part for part in parts):
        raise ApplicationError(f"cannot import {file}: a module's name must not contain a dot")
    _look_first_in(root)
    module = import_module(".".join(parts))
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        raise ApplicationError(
            f"cannot import {file}: the module name {module.__name__} already belongs to "
            f"{found or 'a built-in module'}; rename the file"
        )
    return module


def _reason(given: str, name: str, base: Path, error: BaseException) -> str:
    what = f"cannot import the application {given}: "
    if name.startswith(".") and not _is_file(name):
        return f"{what}a module name does not start with a dot; give a file as ./NAME.py"
    above, _, last = name.rpartition(".")
    if isinstance(getattr(sys.modules.get(above), last, None), App):
        return f"{what}{last} is a jobd.App in the module {above}: give -r {above}:{last}"
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        return f"{what}{meant.module(name, base, str(error.name))}"
    if type(error).__module__ == "django.core.exceptions":
        return f"{what}{explained(error)}. {_SET_UP}"
    return f"{what}{explained(error)}"


_SET_UP = (
    "Django is not set up: leave out -r in the directory of manage.py, or give "
    f"-r {WORKER} before it"
)


def _django_is_missing(directory: str) -> bool:
    """Whether Django is used in the directory of a project, and not set up: a module that imports
    no models can be imported so, but each of its jobs would fail."""
    registry = getattr(sys.modules.get("django.apps"), "apps", None)
    if registry is None or registry.ready:
        return False
    return find(directory, os.environ) is not None


def explained(error: BaseException) -> str:
    """What an import has raised, and where in the application, on one line."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({text_of(error.code, render=repr)}){_place(error)}"
    if isinstance(error, SyntaxError):
        place = f"({text_of(error.filename)}, line {error.lineno})"
        return f"{kind_of(error)}: {text_of(error.msg)} {place}"
    text = " ".join(text_of(error).split())
    return f"{kind_of(error)}: {text}{_place(error)}"


def _place(error: BaseException) -> str:
    """Where in the application *error* was raised, ignoring the import system and, if possible,
    jobd."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not _loads(frame.filename)
    ]
    own = str(Path(__file__).parents[1]) + os.sep
    # A wrong @job(...) raises in jobd, but the application's line has to be fixed.
    frames = [one for one in frames if not one.filename.startswith(own)] or frames
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _child(arguments: list[str]) -> None:
    # An import may hang: it must not outlive the process that waits for it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    answer_to, directory, *require = arguments
    trial: dict[str, object] = {"error": "", "jobs": 0, "found": (), "queues": (), "threads": ""}
    trial["pushes"] = ""
    forks.guard()
    try:
        with single_thread.Starts() as starts:
            app = load(require, directory)
        trial["threads"] = single_thread.others(starts)
        jobs = app.registry.all()
        trial["jobs"] = len(jobs)
        trial["found"] = [(one.name, str(one.options["queue"])) for one in jobs[:_LISTED]]
        trial["queues"] = app.registry.queues()[:100]
        trial["pushes"] = app.client.destination if app.configured else ""
    except ApplicationError as error:
        trial["error"] = str(error)
    os.write(int(answer_to), encode(trial, _ANSWER))
    _exit(0)  # skips atexit handlers and threads of the application


if __name__ == "__main__":
    _child(sys.argv[1:])
