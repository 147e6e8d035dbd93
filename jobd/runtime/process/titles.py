"""The names of jobd's processes in ``ps`` and ``top``."""

from __future__ import annotations

from pathlib import Path

from setproctitle import setproctitle

from jobd.text.printable import shown

WITHOUT_PIDFILE = "no pidfile: "
"""Precedes :func:`place` at the end of the title of a master without a pidfile, so that jobctl,
which cannot reach it, can report it."""


def place(file: str | None) -> str:
    """Identifies a daemon without a pidfile in its title: its configuration *file*, or the
    directory in which it was started."""
    try:
        return shown(str(Path(file).resolve() if file else Path.cwd()))
    except FileNotFoundError:
        return ""  # the working directory no longer exists


def set_title(role: str, tag: str, note: str = "") -> None:
    """Set the title to ``jobd ROLE [TAG] NOTE``."""
    parts = ["jobd", role, f"[{tag}]" if tag else "", note]
    setproctitle(shown(" ".join(part for part in parts if part)))
