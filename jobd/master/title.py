"""The names of jobd's processes in ``ps`` and ``top``."""

from __future__ import annotations

from setproctitle import setproctitle

from jobd.outward import shown


def set_title(role: str, tag: str, note: str = "") -> None:
    """Show ``jobd ROLE [TAG] NOTE``."""
    parts = ["jobd", role, f"[{tag}]" if tag else "", note]
    setproctitle(shown(" ".join(part for part in parts if part)))
