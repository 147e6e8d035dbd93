"""Child processes that end with the process that started them.

The kernel sends the child a SIGTERM when its parent dies, even by SIGKILL. A small Python process
requests that and then executes the program: doing it between fork and exec (``preexec_fn``) could
deadlock in a multi-threaded process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# argv: parent's pid, program, arguments of the program beginning with argv[0].
# PR_SET_PDEATHSIG is 1, SIGTERM is 15. The pid shows whether the parent died before the request.
# Blocked and ignored signals would survive the exec, so they are reset. The program is executed
# under the given name: some servers choose their role by argv[0].
_LAUNCHER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, ())
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        raise SystemExit(1)
os.execv(sys.argv[2], sys.argv[3:])
"""


def spawn(
    command: Sequence[str],
    *,
    output: IO[bytes] | int,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    new_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start *command* (an absolute path first) so that it gets a SIGTERM when this process dies.

    Call it from a thread that lives as long as the child should: for the kernel, the death of the
    starting thread is the death of the parent.

    Args:
        output: file or descriptor for both standard output and standard error.
        directory: the child's working directory; None for that of this process.
        environment: the child's environment; None for that of this process.
        new_session: whether to shield the child from the terminal's Ctrl-C and hang-up.

    Raises:
        OSError: the process cannot be created.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    return subprocess.Popen(
        [*launcher, command[0], *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=environment,
        start_new_session=new_session,
    )
