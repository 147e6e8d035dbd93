"""The names of jobd's processes in ``ps`` and ``top``, where setproctitle is installed."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("setproctitle"):  # an extra: without it the processes keep their command line
    from setproctitle import setproctitle
else:

    def setproctitle(title: str) -> None:
        pass


def set_title(role: str, tag: str, note: str = "") -> None:
    """Show ``jobd ROLE [TAG] NOTE``."""
    parts = ["jobd", role, f"[{tag}]" if tag else "", note]
    setproctitle(" ".join(part for part in parts if part))
