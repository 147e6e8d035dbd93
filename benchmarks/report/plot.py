"""The plot of a run: what each contender did with one process of ten threads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.run.contenders import THREADS

_PANELS = {
    "empty": "empty jobs",
    "async": "empty async jobs",
    "sleep": "jobs that sleep 1 ms",
    "long": "jobs that sleep 100 ms",
    "cpu": "jobs that compute for 1 ms",
    "payload": "jobs with 10 KB of arguments",
}
_JOBD, _PEER, _LIMIT = "#d1495b", "#8da9c4", "#dddddd"
_INK = "#222222"


def draw(path: Path, drains: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """A panel of bars for each kind of work, sorted, with a linear scale of its own from zero."""
    import matplotlib as mpl

    mpl.use("svg")
    # A fixed salt: the same file for the same numbers.
    mpl.rcParams.update({"svg.hashsalt": "jobd", "font.size": 11, "text.color": _INK})
    from matplotlib import pyplot

    found = {title: _bars(drains["median"], workload) for workload, title in _PANELS.items()}
    panels = {title: bars for title, bars in found.items() if bars}
    # As high as the bars of each row of panels need.
    counts = [len(bars) for bars in panels.values()]
    most = [max(counts[at : at + 2]) for at in range(0, len(counts), 2)]
    size = (11, 0.32 * sum(most) + 1.1 * len(most))
    figure, axes = pyplot.subplots(
        len(most), 2, figsize=size, facecolor="white", squeeze=False, height_ratios=most
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, bars) in zip(axes.flat, panels.items(), strict=False):
        names = ["limit: bare loop" if name == "bare" else name for _, name in bars]
        colours = [{"jobd": _JOBD, "bare": _LIMIT}.get(name, _PEER) for _, name in bars]
        drawn = axis.barh(names, [rate for rate, _ in bars], color=colours, height=0.72)
        axis.bar_label(drawn, [f"{rate:,.0f}" for rate, _ in bars], padding=4, color=_INK)
        for label in axis.get_yticklabels():
            label.set_fontweight("bold" if label.get_text() == "jobd" else "normal")
        axis.set_title(title, loc="left", fontweight="bold")
        axis.margins(x=0.18)
        axis.xaxis.set_visible(False)
        axis.tick_params(left=False)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.spines["left"].set_color("#bbbbbb")
    title = f"Jobs a second, one process of {THREADS} jobs at a time (rq: {THREADS} processes)"
    figure.suptitle(title, fontsize=15)
    figure.text(
        0.5,
        0.012,
        f"{machine['cores']} cores, {machine['cpu']}; CPython {machine['python']}; "
        f"{machine['date'][:10]}; each panel has its own linear scale",
        ha="center",
        fontsize=9,
        color="#666666",
    )
    figure.tight_layout(rect=(0, 0.03, 1, 0.98), h_pad=2.0, w_pad=2.5)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(medians: Mapping[str, float | None], workload: str) -> list[tuple[float, str]]:
    return sorted(
        (rate, key.partition("/")[0])
        for key, rate in medians.items()
        if rate is not None and key.endswith(f"/1/{workload}/warning")
    )
