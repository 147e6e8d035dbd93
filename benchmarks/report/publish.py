"""Publishes a run: its JSON and plot beside the docs, its numbers in the marked blocks.

A block is what stands between ``<!-- bench: NAME -->`` and ``<!-- /bench -->``. No number of a run
is typed by hand, and a test compares the blocks with the JSON that is committed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.report import plot
from benchmarks.report.figures import ASYNC, EMPTY, PEERS, SIDEKIQ
from benchmarks.report.tables import SUBJECTS, number, tables

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "docs" / "benchmarks" / "result.json"
PLOT = RESULT.with_suffix(".svg")
PAGES = (ROOT / "docs" / "benchmarks.md", ROOT / "README.md")

_BLOCK = re.compile(r"(<!-- bench: (\w+) -->)(.*?)(<!-- /bench -->)", re.DOTALL)

_QUIET = 0.25
"""Most load a core before a run that deserves to be quoted."""


def publish(source: Path, *further: Path) -> None:
    """Make *source* the published run, with what *further* ones have measured in its place."""
    summary = json.loads(source.read_text(encoding="utf-8"))
    for path in further:
        summary = joined(summary, json.loads(path.read_text(encoding="utf-8")))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    plot.draw(PLOT, summary["measured"]["drains"], summary["machine"])
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), summary), encoding="utf-8")


def joined(summary: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """A run with the subjects of a *later* one, which says for itself where and when that was."""
    subjects = list(later["measured"])
    own = {key: later[key] for key in ("machine", "rounds", "quick")}
    kept = [
        {**one, "subjects": [name for name in one["subjects"] if name not in subjects]}
        for one in summary.get("further", ())
    ]
    reached = {one["name"]: one for one in later["figures"] if one["reached"] is not None}
    known = [one["name"] for one in summary["figures"]]
    return {
        **summary,
        "figures": [
            *(reached.get(one["name"], one) for one in summary["figures"]),
            *(one for name, one in reached.items() if name not in known),
        ],
        "measured": {**summary["measured"], **later["measured"]},
        "further": [*(one for one in kept if one["subjects"]), {**own, "subjects": subjects}],
    }


def filled(text: str, summary: dict[str, Any]) -> str:
    """*text* with what *summary* says in its blocks."""
    made = {
        name: f"\n{table.markdown()}\n"
        for name, table in tables(summary["measured"], summary["figures"]).items()
    }
    # What is new is on the page before it is in the published run.
    made |= dict.fromkeys(SUBJECTS - made.keys(), "\nNot in the published run yet.\n")
    made["machine"] = f"\n{_machine(summary)}\n"

    def block(match: re.Match[str]) -> str:
        if match[2] == "headline":
            return match[1] + headline(summary) + match[4]
        if match[2] not in made:
            raise KeyError(f"the run has no {match[2]}, which a page wants to show")
        return match[1] + made[match[2]] + match[4]

    return _BLOCK.sub(block, text)


def _machine(summary: dict[str, Any]) -> str:
    lines = [_where(summary)]
    lines += [f"{', '.join(one['subjects'])}: {_where(one)}" for one in summary.get("further", ())]
    return "\n\n".join(lines)


def _where(summary: dict[str, Any]) -> str:
    machine = summary["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    busy = machine["load"] > _QUIET * machine["cores"]
    warning = " **Other programs ran on this machine: do not quote these numbers.**" if busy else ""
    return (
        f"{machine['date'][:10]}, rounds: {summary['rounds']}, {machine['cores']} cores "
        f"({machine['cpu']}), Linux {machine['kernel']}, CPython {machine['python']}, {versions}. "
        f"Load average before it began: {machine['load']}.{warning}"
    )


def headline(summary: dict[str, Any]) -> str:
    """What the run says of jobd, and against whom.

    A tool is called the fastest only of those that the same run has measured, which are named.
    """
    figures = {each["name"]: each for each in summary["figures"]}
    medians = summary["measured"]["drains"]["median"]
    versions = _run_of(summary, "drains")["machine"]["versions"]
    parts, measured = [], set()
    for name, kind, what in ((EMPTY, "empty", "empty jobs"), (ASYNC, "async", "empty async jobs")):
        figure = figures.get(name)
        if figure is None or figure["reached"] is None:
            continue
        rates = {peer: medians.get(f"{peer}/1/{kind}/warning") for peer in PEERS}
        measured |= {peer for peer, rate in rates.items() if rate}
        parts.append(f"{number(figure['reached'])} × the {what} a second of {figure['against']}")
    if not parts:
        raise ValueError("a run that is published measures jobd against its peers")
    names = ", ".join(f"{name} {versions[name]}" for name in PEERS if name in measured)
    each = "each the fastest" if len(parts) > 1 else "the fastest"
    text = f"{' and '.join(parts)}, {each} of the Python tools measured with it ({names})"
    sidekiq = figures[SIDEKIQ]
    if sidekiq["reached"] is not None:
        text += f"; {number(sidekiq['reached'])} × Sidekiq {versions['sidekiq']}"
    return f"{text}; one run"


def _run_of(summary: dict[str, Any], subject: str) -> dict[str, Any]:
    """The run that has measured it: a later one, or the published one itself."""
    later = (one for one in summary.get("further", ()) if subject in one["subjects"])
    return next(later, summary)
