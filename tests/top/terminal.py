"""A real terminal for tests: tmux."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import environment, wait

_SECONDS = 60.0


class Terminal:
    """A terminal of its own with a shell that runs one command and says how that has ended."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "tmux"
        self._file = directory / "line"

    def run(self, line: str, env: dict[str, str], width: int = 80, height: int = 24) -> None:
        self._file.write_text(f"{line}\necho exit code $?\nexec sleep 1000\n")
        size = ["-x", str(width), "-y", str(height)]
        self.tmux("new-session", "-d", *size, "sh", str(self._file), env=env)

    def tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    @property
    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def shows(self, *texts: str) -> str:
        """Wait until all of these are on the screen; all of it."""

        def look() -> str:
            seen = self.text
            return seen if all(text in seen for text in texts) else ""

        try:
            found: str = wait(look, _SECONDS, str(texts))
        except AssertionError:
            raise AssertionError(f"{texts} is not on the screen:\n{self.text}") from None
        return found

    def fills(self, *texts: str) -> str:
        """The same, down to the last row of a screen of the usual height."""
        seen = self.shows(*texts)
        assert len(seen.rstrip("\n").splitlines()) == 24, seen
        return seen

    def tells(self, text: str) -> None:
        """Wait until a message or a question says that, wherever its lines are broken."""
        words = text.replace(" ", "")

        def look() -> bool:
            return words in re.sub(r"[\s\u2500-\u259f]+", "", self.text)

        try:
            wait(look, _SECONDS, text)
        except AssertionError:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.text}") from None

    def signal(self, name: str) -> None:
        """Send it to the command."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        subprocess.run(["pkill", f"-{name}", "-P", shell], check=True, timeout=30)

    def end(self) -> None:
        subprocess.run(
            ["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, timeout=30
        )


def top(terminal: Terminal, url: str, *, env: dict[str, str] | None = None, **size: int) -> None:
    """Start ``jobctl top`` there."""
    own = environment({"TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})})
    line = f"{shlex.quote(sys.executable)} -m jobctl top --redis {shlex.quote(url)}"
    terminal.run(line, own, **size)
