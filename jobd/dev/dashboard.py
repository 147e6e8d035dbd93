"""The dashboard of ``jobd dev``: a child that runs ``jobd web``."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobd.dev.plan import arguments
from jobd.testing.tether import spawn
from jobd.text.printable import paragraph

_ADDRESS = re.compile(r"http://\S+(?=\s)")
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_SHARED = ("redis", "prefix", "environment", "require", "directory")


class Dashboard:
    """One ``jobd web``.

    Args:
        words: arguments of the command.
        flags: the settings that were given; the dashboard gets those that it has.
        output: file for its output.
    """

    def __init__(self, words: Sequence[str], flags: Mapping[str, object], output: Path) -> None:
        shared = {name: value for name, value in flags.items() if name in _SHARED}
        self._words = [*words, *arguments(shared)]
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it; returns a sentence that says where it is, or why there is none."""
        # Its usual port may belong to the dashboard of another project: then it ends at once.
        for more in ((), ("--port=0",)):
            with self._output.open("wb") as output:
                command = [sys.executable, "-m", "jobd", "web", *self._words, *more]
                self._process = spawn(command, output=output)
            deadline = time.monotonic() + _START_SECONDS
            while self._process.poll() is None and time.monotonic() < deadline:
                if found := _ADDRESS.search(self._output.read_text(errors="replace")):
                    return f"dashboard: {found[0]}"
                time.sleep(0.02)
            if self._process.poll() is None:
                self.stop()
                return f"no dashboard: it did not start within {_START_SECONDS:.0f} seconds"
            self.stop()
        return f"no dashboard: {paragraph(self._output.read_text(errors='replace').strip())}"

    def stop(self) -> None:
        """Stop it, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
