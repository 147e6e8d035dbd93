"""The tables of a run, from what its JSON holds: those on the terminal are those in the docs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.run.contenders import CONTENDERS

NAMES = [each.name for each in CONTENDERS]
WORKLOADS = {
    "empty": "empty",
    "async": "empty async",
    "sleep": "sleep",
    "long": "100 ms",
    "cpu": "cpu",
    "payload": "payload",
}
"""By what they are called in the tables."""
WAYS = ("single", "bulk", "four")


@dataclass(frozen=True)
class Table:
    """The first column is words, the others are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Aligned, for a terminal."""
        lines = [list(self.headings), *map(list, self.rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.headings))]
        texts = [
            "  ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        texts.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(texts)

    def markdown(self) -> str:
        line = "|---" + "|---:" * (len(self.headings) - 1) + "|"
        lines = ["| " + " | ".join(row) + " |" for row in (self.headings, *self.rows)]
        return "\n".join([lines[0], line, *lines[1:]])


def tables(measured: Mapping[str, Any], figures: Iterable[Mapping[str, Any]]) -> dict[str, Table]:
    """All that can be made of what was measured, by name."""
    made = {name: _MAKERS[name](each) for name, each in measured.items() if "error" not in each}
    return {**made, "figures": _figures(figures)}


def number(value: float | None) -> str:
    """A dash for what was not measured; three digits for what is small."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cell(medians: Mapping[str, float | None], key: str) -> str:
    return "FAILED" if key in medians and medians[key] is None else number(medians.get(key))


def _drains(result: Mapping[str, Any]) -> Table:
    medians = result["median"]
    columns = [
        *((1, workload, "warning") for workload in WORKLOADS),
        (1, "empty", "default"),
        *((2, workload, "warning") for workload in WORKLOADS),
    ]
    keys = ["/".join(map(str, column)) for column in columns]
    # What a run has not measured of anybody is no column of it.
    there = {key.partition("/")[2] for key in medians}
    columns = [column for column, key in zip(columns, keys, strict=True) if key in there]
    names = {"warning": "", "default": " (logs)"}
    headings = ["jobs/s", *(f"{p}p {WORKLOADS[w]}{names[level]}" for p, w, level in columns)]
    rows = [
        [name, *(_cell(medians, f"{name}/{p}/{w}/{level}") for p, w, level in columns)]
        for name in NAMES
        if f"{name}/1/empty/warning" in medians
    ]
    return Table(headings, rows)


def _enqueue(result: Mapping[str, Any]) -> Table:
    medians = result["median"]
    rows = [
        [name, *(_cell(medians, f"{name}/{way}") for way in WAYS)]
        for name in NAMES
        if f"{name}/single" in medians
    ]
    return Table(["pushed/s", "one by one", "in bulk", "one by one, 4 processes"], rows)


def _latency(result: Mapping[str, Any]) -> Table:
    keys = ("p50", "p99", "p99.9", "pushes")
    found = result["contenders"]
    rows = [
        [name, *(number(found[name][key]) for key in keys)]
        for name in ("jobd", "blmove", *NAMES[2:])
        if name in found
    ]
    return Table(["µs from push to start", *keys], rows)


def _limits(result: Mapping[str, Any]) -> Table:
    rows = [[name, number(rate)] for name, rate in result["median"].items()]
    return Table([f"operations/s, {result['by']}", ""], rows)


def _network(result: Mapping[str, Any]) -> Table:
    ratios = {**result["ratio"], "0 ms": None}
    rows = [
        [name, number(rate), number(ratios.get(name))] for name, rate in result["median"].items()
    ]
    return Table(["added to a round trip", "jobs/s", "of the relay without delay"], rows)


def _attachments(result: Mapping[str, Any]) -> Table:
    rates = [
        [f"{name.removeprefix('jobd/')}, jobs/s", number(rate), "-"]
        for name, rate in result["median"].items()
    ]
    waits = [
        [f"{name}, ms", number(one["p50"]), number(one["p95"])]
        for name, one in result["waits"].items()
    ]
    return Table(["what hangs on a job", "p50", "p95"], rates + waits)


def _batches(result: Mapping[str, Any]) -> Table:
    rows = [
        [f"{name.removeprefix('jobd/')}, jobs/s", number(rate)]
        for name, rate in result["median"].items()
    ]
    callback = f"callback of {result['members']:,}, after the last member, ms"
    return Table(["batches", ""], [*rows, [callback, number(result["callback, ms"].get("p50"))]])


def _workflows(result: Mapping[str, Any]) -> Table:
    callback, size = result["callback, ms"], result["bytes"]
    rows = [
        *([f"{name}, steps/s", number(rate)] for name, rate in result["median"].items()),
        [
            f"callback of {result['steps']:,}, after the last member, ms",
            number(callback.get("p50")),
        ],
        ["1,000 chords of 10, MB", number(size / 1e6 if size else None)],
    ]
    return Table(["workflows", ""], rows)


def _due(result: Mapping[str, Any]) -> Table:
    idle, flood = result["fresh on idle, ms"], result["fresh in the flood, ms"]
    rows = [
        [f"{result['jobs']:,} due jobs moved, jobs/s", number(result["median"]["moved"])],
        ["the same, until all have run", number(result["median"]["ran"])],
        *(
            [f"a fresh job waits, {which}, {key}, ms", number(each[key])]
            for which, each in (("on idle", idle), ("meanwhile", flood))
            for key in ("p50", "p99", "worst")
        ),
    ]
    return Table(["due jobs", ""], rows)


def _depth(result: Mapping[str, Any]) -> Table:
    names = {name: f"{int(name):,} jobs" if name.isdigit() else name for name in result["median"]}
    rows = [[names[name], number(rate)] for name, rate in result["median"].items()]
    return Table(["depth of the queue", "jobs/s"], rows)


def _idle(result: Mapping[str, Any]) -> Table:
    columns = {"commands": "commands/s", "cpu": "% of a CPU"}
    columns |= {"worker": "MB of a worker process", "whole": "MB of all processes"}
    found = result["contenders"]
    columns = {
        key: name for key, name in columns.items() if any(key in one for one in found.values())
    }
    rows = [[name, *(number(one.get(key)) for key in columns)] for name, one in found.items()]
    dashes = ["-"] * (len(columns) - 2)
    rows.append(["jobd, of which each worker", number(result["each worker"]), "-", *dashes])
    for role, percent in result["cpu_percent"].items():
        rows.append([f"jobd, of which the {role}", "-", number(percent), *dashes])
    return Table(["idle, 1 process", *columns.values()], rows)


def _coroutines(result: Mapping[str, Any]) -> Table:
    keys = ("allowed", "asleep", "seconds", "memory")
    rows = [
        [name, number(one["allowed"]), *(_cell(one, key) for key in keys[1:])]
        for name, one in result["contenders"].items()
    ]
    title = f"{result['jobs']:,} coroutines, {result['nap']:g} s each"
    return Table([title, "allowed at once", "at once", "s until all had slept", "MB"], rows)


def _recovery(result: Mapping[str, Any]) -> Table:
    keys = ("p50", "p99", "worst", "kills")
    rows = [[name, *(number(result[name][key]) for key in keys)] for name in ("beside", "alone")]
    return Table(["ms from SIGKILL until the jobs run", *keys], rows)


def _memory(result: Mapping[str, Any]) -> Table:
    first = result["after_each_batch"][-1] - result["growth"]
    rows = [
        ["after the warm-up", f"{first:.1f}"],
        [f"after {result['jobs']:,} jobs more", f"{result['after_each_batch'][-1]:.1f}"],
    ]
    return Table(["whole daemon", "MB"], rows)


def _dashboard(result: Mapping[str, Any]) -> Table:
    rows = [
        [name, *(number(page.get(key)) for key in ("p50", "p95", "cpu")), *_command(page)]
        for name, page in result["pages"].items()
    ]
    rows += [[name, "-", "-", "-", *_command(action)] for name, action in result["actions"].items()]
    headings = ["dashboard, ms", "p50", "p95", "CPU, p95", "slowest command, p95", "which"]
    return Table(headings, rows)


def _terminal(result: Mapping[str, Any]) -> Table:
    rows = [
        [name, *(number(one.get(key)) for key in ("p50", "p95", "whole")), *_command(one), "-", "-"]
        for name, one in result["commands"].items()
    ]
    for row in rows:
        if row[0].startswith("top: "):
            page = result["top"][row[0].removeprefix("top: ")]
            row[-2:] = [number(page["trips"]), number(page["cpu"])]
    headings = ["jobctl, ms to its first output", "p50", "p95", "to its end"]
    headings += ["slowest command, p95", "which", "round trips a second", "CPU, %"]
    return Table(headings, rows)


def _command(found: Mapping[str, Any]) -> tuple[str, str]:
    """A slow command, without what is long."""
    if not found.get("worst"):
        return "-", "-"
    return number(found["us"] / 1000), found["command"]


def _figures(figures: Iterable[Mapping[str, Any]]) -> Table:
    rows = []
    for each in figures:
        name = f"{each['name']} ({each['against']})" if each["against"] else each["name"]
        verdict = {True: "PASS", False: "FAIL", None: "not measured"}[each["passed"]]
        unit = each["unit"]
        reached = "-" if each["reached"] is None else f"{number(each['reached'])} {unit}"
        bound = "≤" if each["most"] else "≥"
        wanted = "-"
        if each["target"] is not None:
            wanted = f"{bound} {each['target']:,g} {unit}"
        elif each["reached"] is not None:
            verdict = ""
        rows.append([name, wanted, reached, verdict])
    return Table(["figure", "wanted", "reached", ""], rows)


_MAKERS = {
    "drains": _drains,
    "enqueue": _enqueue,
    "latency": _latency,
    "limits": _limits,
    "network": _network,
    "attachments": _attachments,
    "batches": _batches,
    "workflows": _workflows,
    "due": _due,
    "depth": _depth,
    "idle": _idle,
    "coroutines": _coroutines,
    "recovery": _recovery,
    "memory": _memory,
    "dashboard": _dashboard,
    "terminal": _terminal,
}

SUBJECTS = frozenset(_MAKERS)
"""What there may be tables of."""
