"""The report of a run: JSON and a plot beside each other in a directory."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.report import plot
from benchmarks.run.contenders import CONTENDERS


def machine(server: str) -> dict[str, Any]:
    """Where it ran, and with what. *server* is the name and version of the server."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    name, _, version = server.partition(" ")
    tools = {each.name: each.version for each in CONTENDERS if each.version}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version, **tools},
    }


def write(directory: Path, report: dict[str, Any]) -> list[Path]:
    """Write ``latest.json``, and ``latest.svg`` where matplotlib is installed."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "latest.json"]
    written[0].write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    drains = report["measured"].get("drains")
    if drains and drains.get("median") and importlib.util.find_spec("matplotlib"):
        written.append(directory / "latest.svg")
        plot.draw(written[1], drains, report["machine"])
    return written
