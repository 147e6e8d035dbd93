"""Child processes that cannot outlive the process that started them.

The kernel sends the child a SIGTERM when its parent dies, even by SIGKILL. A tiny interpreter
asks for that and then becomes the program: doing it between fork and exec instead
(``preexec_fn``) could deadlock in a process that has threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# argv: parent's pid, program, arguments of the program beginning with argv[0].
# PR_SET_PDEATHSIG is 1, SIGTERM is 15. A parent that died before the request is noticed by its
# pid. Blocked and ignored signals would survive the exec; the program begins with none. It is
# executed under the given name: some servers choose their role by argv[0].
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
    """Start *command* (an absolute path first) so that it gets a SIGTERM when we die.

    Call it from a thread that lives as long as the child shall: the kernel counts the death of
    the starting thread as the death of the parent.

    Args:
        output: file or descriptor for both standard output and standard error.
        directory: the child's working directory; ours when None.
        environment: the child's environment; ours when None.
        new_session: keep the terminal's Ctrl-C and hang-up away from the child.

    Raises:
        OSError: the process cannot be made.
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
