"""The names of jobd's processes in ``ps`` and ``top``."""

from __future__ import annotations

from pathlib import Path

from setproctitle import setproctitle

from jobd.text.printable import shown

WITHOUT_PIDFILE = "no pidfile: "
"""What the title of a master ends with that has no pidfile, before :func:`place`: jobctl, which
cannot reach it, can say so."""


def place(file: str | None) -> str:
    """What a daemon without a pidfile is known by: its configuration *file*, else the directory in
    which it was started; as a title shows it."""
    try:
        return shown(str(Path(file).resolve() if file else Path.cwd()))
    except FileNotFoundError:
        return ""  # the working directory has gone


def set_title(role: str, tag: str, note: str = "") -> None:
    """Show ``jobd ROLE [TAG] NOTE``."""
    parts = ["jobd", role, f"[{tag}]" if tag else "", note]
    setproctitle(shown(" ".join(part for part in parts if part)))
