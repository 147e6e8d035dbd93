"""The real Sidekiq, driven from Python: a console for its API, and its worker process."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from jobd.testing.tether import spawn
from tests.support.daemon import WaitFailed, environment, wait

RUBY = Path(__file__).parent / "ruby"
_ANSWER_SECONDS = 20.0


@functools.cache
def missing() -> str:
    """Why Sidekiq cannot be used here; empty when it can."""
    if not shutil.which("ruby") or not shutil.which("sidekiq"):
        return "Sidekiq is not installed; `sudo apt-get install ruby-sidekiq` enables this test"
    loads = subprocess.run(
        ["ruby", "-e", 'require "sidekiq"'], capture_output=True, text=True, check=False
    )
    return f"Sidekiq does not load: {loads.stderr[-300:]}" if loads.returncode else ""


class Console:
    """A Ruby process with Sidekiq's API loaded.

    Example:
        >>> console("Sidekiq::Stats.new.processed")
        3
    """

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            ["ruby", str(RUBY / "console.rb")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment({"REDIS_URL": url}),
        )

    def __call__(self, ruby: str) -> Any:
        """The value of the expression *ruby*, which must be representable in JSON."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(ruby) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the Ruby console has ended"
        answer = json.loads(line)
        assert "error" not in answer, f"{ruby}\n{answer['error']}"
        return answer["value"]

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """End the console."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_ANSWER_SECONDS)


class Sidekiq:
    """A ``sidekiq`` process with the jobs of ``ruby/jobs.rb``.

    Use it in a ``with`` statement: it is ready inside and stopped after.
    """

    def __init__(self, directory: Path, url: str, *flags: str) -> None:
        self._log = directory / f"sidekiq-{time.monotonic_ns()}.log"
        self._directory = directory
        self._url = url
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sidekiq:
        program = shutil.which("sidekiq")
        assert program is not None
        with self._log.open("wb") as output:
            self._process = spawn(
                [program, "-r", str(RUBY / "jobs.rb"), "-c", "2", "-t", "2", *self._flags],
                output=output,
                directory=self._directory,
                environment=environment({"REDIS_URL": self._url}),
            )
        self.wait(lambda: "interop: ready" in self.log(), 20, "Sidekiq has started")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, condition: Callable[[], Any], timeout: float, what: str) -> Any:
        """As :func:`tests.support.daemon.wait`, and the failure shows Sidekiq's log."""
        try:
            return wait(condition, timeout, what)
        except WaitFailed as failure:
            raise WaitFailed(f"{failure}\n-- sidekiq\n{self.log()[-6000:]}") from None
