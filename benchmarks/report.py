"""The report of a run: tables on the terminal, JSON and a plot beside each other in a directory."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Figure

_WORKLOADS = ("empty", "sleep", "cpu", "payload")


def machine() -> dict[str, Any]:
    """Where it ran."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns; the first to the left, the others to the right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headings))]
    texts = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    texts.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(texts)


def figures_table(figures: Iterable[Figure]) -> str:
    rows = []
    for figure in figures:
        bound = "≤" if figure.most else "≥"
        name = f"{figure.name} ({figure.against})" if figure.against else figure.name
        verdict = {True: "PASS", False: "FAIL", None: "not measured"}[figure.passed]
        reached = "-" if figure.reached is None else f"{figure.reached:,.3g} {figure.unit}"
        if figure.reached is not None and figure.reached >= 1000:
            reached = f"{figure.reached:,.0f} {figure.unit}"
        rows.append([name, f"{bound} {figure.target:,g} {figure.unit}", reached, verdict])
    return table(["figure", "wanted", "reached", ""], rows)


def drains_table(result: dict[str, Any]) -> str:
    """Jobs a second of every contender."""
    medians = result["median"]
    columns = [
        *((1, workload, "warning") for workload in _WORKLOADS),
        (1, "empty", "default"),
        *((2, workload, "warning") for workload in _WORKLOADS),
    ]
    names = {"warning": "", "default": " (logs)"}
    headings = ["jobs/s", *(f"{p}p {w}{names[level]}" for p, w, level in columns)]
    rows = [
        [
            contender.name,
            *(_number(medians.get(f"{contender.name}/{p}/{w}/{level}")) for p, w, level in columns),
        ]
        for contender in CONTENDERS
        if f"{contender.name}/1/empty/warning" in medians
    ]
    return table(headings, rows)


def enqueue_table(result: dict[str, Any]) -> str:
    medians = result["median"]
    ways = ("single", "bulk", "four")
    rows = [
        [each.name, *(_number(medians.get(f"{each.name}/{way}")) for way in ways)]
        for each in CONTENDERS
        if f"{each.name}/single" in medians
    ]
    return table(["pushed/s", "one by one", "in bulk", "one by one, 4 processes"], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def plain(name: str, result: dict[str, Any]) -> str:
    """Anything else: its numbers without the single rounds."""
    shown = {key: value for key, value in result.items() if key not in ("samples", "failures")}
    return f"{name}: " + json.dumps(shown, ensure_ascii=False, indent=2)


def write(directory: Path, report: dict[str, Any]) -> list[Path]:
    """Write ``latest.json``, and ``latest.svg`` where matplotlib is installed."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "latest.json"]
    written[0].write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    drains = report["measured"].get("drains")
    if drains and drains["median"] and importlib.util.find_spec("matplotlib"):
        written.append(directory / "latest.svg")
        _plot(written[1], drains)
    return written


def _plot(path: Path, drains: dict[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7))
    titles = {"empty": "empty", "sleep": "1 ms sleep", "cpu": "1 ms CPU", "payload": "10 KB"}
    for axis, workload in zip(axes.flat, _WORKLOADS, strict=True):
        for processes, offset, colour in ((1, -0.2, "#3b6ea5"), (2, 0.2, "#9dbde0")):
            bars = [
                (each.name, drains["samples"][key])
                for each in CONTENDERS
                if (key := f"{each.name}/{processes}/{workload}/warning") in drains["samples"]
            ]
            names = [name for name, _ in bars]
            heights = [sorted(values)[len(values) // 2] for _, values in bars]
            places = [[each.name for each in CONTENDERS].index(name) + offset for name in names]
            axis.bar(places, heights, 0.4, color=colour, label=f"{processes} process(es)")
            for place, height in zip(places, heights, strict=True):
                axis.annotate(
                    f"{height:,.0f}", (place, height), ha="center", va="bottom", fontsize=6
                )
        axis.set_title(f"{titles[workload]} jobs")
        axis.set_yscale("log")
        axis.set_ylabel("jobs/s")
        axis.set_xticks(range(len(CONTENDERS)), [each.name for each in CONTENDERS], fontsize=8)
    axes.flat[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
