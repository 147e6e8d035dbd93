"""Programs of ours that start at once: forked from a process that has imported them.

A daemon of four processes spends most of its first second importing the same modules in each of
them, and the tests start many hundreds. What is tested is what happens afterwards; so the server
here imports everything once and forks. Where the start itself is the matter, and where a program
runs in front of jobd, a new interpreter is started as ever.

The forked program is the test process's own child (it adopts orphans), has a session, descriptors
and an environment of its own, and gets a SIGTERM when the test process dies.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import CDLL
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from setproctitle import setproctitle

from tests.support import processes

_PACKET = 1 << 18
_PR_SET_PDEATHSIG = 1
PROGRAMS = {"jobctl": "jobctl.cli", "jobd": "jobd.__main__"}
"""The modules that ``python -m`` would run; each has a function ``main``."""
_PRELOADED = (
    *PROGRAMS.values(),
    "jobd.keeper.main",
    "jobd.master.start",
    "jobd.public",
    "jobd.testing",
    "jobd.worker.main",
    "jobd.zygote.main",
)
_WITH_ALL_THEY_HAVE = ("jobctl.daemon", "jobctl.data")
"""Packages of commands, which are imported when they are called."""


class Forked:
    """A forked program, with those methods of ``subprocess.Popen`` that the tests use."""

    def __init__(self, pid: int, arguments: Sequence[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._arguments = list(arguments)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit code, when it has ended; kills it after *timeout* seconds.

        Raises:
            subprocess.TimeoutExpired: it had to be killed.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise subprocess.TimeoutExpired(self._arguments, timeout)
            time.sleep(0.005)
        return code


class ForkServer:
    """The test process's side; the server is started by the first use and dies with us."""

    def __init__(self) -> None:
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End the server; what it has forked goes on."""
        if self._line and self._process:
            self._line.close()
            self._process.wait()
            processes.kept.remove(self._process.pid)
            self._line = self._process = None

    def spawn(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        output: int,
        errors: int | None = None,
    ) -> Forked:
        """Run *program*, one of :data:`PROGRAMS`, with nothing to read.

        Args:
            output: a descriptor for its standard output.
            errors: a descriptor for its standard error; *output* when None.
        """
        line = self._line = self._line or self._started()
        request = [os.getpid(), program, [*arguments], str(directory), dict(environment)]
        streams = array.array("i", [output, output if errors is None else errors])
        line.sendmsg(
            [json.dumps(request).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)],
        )
        return Forked(int(line.recv(_PACKET)), [program, *arguments])

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run(..., capture_output=True, text=True)``."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            running = self.spawn(
                program,
                arguments,
                directory=directory,
                environment=environment,
                output=output.fileno(),
                errors=errors.fileno(),
            )
            code = running.wait(timeout)
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(
                [program, *arguments], code, output.read(), errors.read()
            )

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        checkout = Path(__file__).parents[2]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=checkout,
                start_new_session=True,
            )
        processes.kept.add(self._process.pid)
        return ours


server = ForkServer()


def _serve(line: socket.socket) -> NoReturn:
    """Fork what is asked for, until the test process has gone. Ends in the forked ones too."""
    while True:
        packet, streams, _flags, _from = socket.recv_fds(line, _PACKET, 2)
        if not packet:
            os._exit(0)
        tester, program, arguments, directory, environment = json.loads(packet)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            # The program becomes an orphan, which the test process adopts.
            pid = os.fork()
            if pid:
                os.write(writing, str(pid).encode())
                os._exit(0)
            for descriptor in (line.detach(), reading, writing):
                os.close(descriptor)
            _become(tester, streams, directory, environment)
            sys.argv = [program, *arguments]
            # What a job starts with multiprocessing looks at the main module.
            main = sys.modules["__main__"] = sys.modules[PROGRAMS[program]]
            _run(main.main)
        os.waitpid(between, 0)
        line.send(os.read(reading, 32))
        for descriptor in (*streams, reading, writing):
            os.close(descriptor)


def _run(main: Callable[[], int | None]) -> NoReturn:
    """End as the interpreter does, but for freeing everything piece by piece: to do that with what
    all programs have in common takes longer than most commands."""
    try:
        code: object = main()
    except SystemExit as left:
        code = left.code
    if isinstance(code, int | None):
        threading._shutdown()  # type: ignore[attr-defined]  # as forks of multiprocessing
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError):  # which the interpreter has words for
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    sys.exit(code)  # type: ignore[arg-type]


def _become(
    tester: int, streams: Sequence[int], directory: str, environment: Mapping[str, str]
) -> None:
    """Leave what was inherited from the server and take what was given."""
    os.setsid()
    for standard, descriptor in zip((1, 2), streams, strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = directory
    while os.getppid() != tester:
        time.sleep(0.001)
    CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


if __name__ == "__main__":
    for name in _PRELOADED:
        import_module(name)
    for name in _WITH_ALL_THEY_HAVE:
        for module in pkgutil.iter_modules(import_module(name).__path__, f"{name}."):
            import_module(module.name)
    # The first call finds the place of the title, by the environment with which we were started.
    setproctitle("the tests' fork server")
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
