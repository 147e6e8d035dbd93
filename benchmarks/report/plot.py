"""The plot of a run: what each contender did with one process of ten threads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.run.contenders import THREADS

_PANELS = {
    "empty": "empty jobs",
    "sleep": "jobs that sleep 1 ms",
    "cpu": "jobs that compute for 1 ms",
    "payload": "jobs with 10 KB of arguments",
}
_JOBD, _PEER, _LIMIT = "#d1495b", "#8da9c4", "#dddddd"
_INK = "#222222"


def draw(path: Path, drains: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """Four panels of bars, each sorted, each with a linear scale of its own from zero."""
    import matplotlib as mpl

    mpl.use("svg")
    # A fixed salt: the same file for the same numbers.
    mpl.rcParams.update({"svg.hashsalt": "jobd", "font.size": 11, "text.color": _INK})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.4), facecolor="white")
    for axis, (workload, title) in zip(axes.flat, _PANELS.items(), strict=True):
        bars = sorted(
            (rate, name)
            for key, rate in drains["median"].items()
            if rate is not None and key.endswith(f"/1/{workload}/warning")
            for name in (key.partition("/")[0],)
        )
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
    title = f"Jobs a second, one process of {THREADS} threads (rq: {THREADS} processes)"
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
