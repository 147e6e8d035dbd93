"""Draws the diagrams of the manual from the text below: `python docs/diagrams.py` at the top of the
source tree writes docs/images/NAME.svg and NAME-dark.svg.

No program and no network is needed. Places are in pixels; an arrow goes through the points of its
path. Which scripts make a transition is in its tooltip, and tests compare it with the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Box:
    """A state or a process: its place, its name, what is in it, and how it is drawn."""

    x: int
    y: int
    width: int
    height: int
    name: str
    lines: tuple[str, ...] = ()
    kind: str = "plain"  # or: redis, end, outside


@dataclass(frozen=True)
class Arrow:
    """A path between boxes, the place and text of its label, and the scripts that make the step."""

    path: tuple[tuple[int, int], ...]
    at: tuple[int, int] = (0, 0)
    label: str = ""
    anchor: str = "middle"
    dashed: bool = False
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagram:
    """A picture, and the sentence for those who cannot see it."""

    width: int
    height: int
    text: str
    parts: tuple[Box | Arrow, ...]


ROAD = Diagram(
    960,
    470,
    "The road of a job: pushed to a queue or to the schedule, claimed, in flight; then done, or to "
    "the retry set and back to its queue, or to the dead set.",
    (
        Box(20, 70, 150, 64, "Your application", ("pushes",), "outside"),
        Box(270, 70, 170, 64, "Queue", ("queue:NAME, a list",), "redis"),
        Box(570, 70, 170, 64, "In flight", ("runs in a worker",), "redis"),
        Box(820, 70, 120, 64, "Done", ("removed, counted",), "end"),
        Box(110, 230, 170, 64, "Scheduled", ("schedule, by time",), "redis"),
        Box(400, 230, 170, 64, "Retries", ("retry, by time",), "redis"),
        Box(820, 216, 120, 92, "Gone", ("discarded,", "cancelled,", "expired"), "end"),
        Box(570, 380, 170, 64, "Dead", ("dead, for 180 days",), "redis"),
        Arrow(((170, 102), (270, 102)), (203, 94), "push", scripts=("push",)),
        Arrow(((130, 134), (130, 230)), (122, 186), "push for later", "end", scripts=("push",)),
        Arrow(((275, 230), (275, 134)), (267, 186), "due", "end", scripts=("promote",)),
        Arrow(((440, 88), (570, 88)), (505, 80), "claim", scripts=("claim", "file")),
        Arrow(
            ((570, 116), (440, 116)),
            (505, 134),
            "stop or crash",
            dashed=True,
            scripts=("give_back", "recover"),
        ),
        Arrow(((740, 102), (820, 102)), (780, 94), "success", scripts=("acknowledge", "end")),
        Arrow(
            ((655, 70), (655, 34), (238, 34), (238, 230)),
            (437, 26),
            "Snooze: not now, and no failure",
            dashed=True,
            scripts=("snooze",),
        ),
        Arrow(
            ((590, 134), (590, 180), (540, 180), (540, 230)),
            (532, 172),
            "failure",
            "end",
            scripts=("retry",),
        ),
        Arrow(((420, 230), (420, 134)), (412, 186), "due", "end", scripts=("promote",)),
        Arrow(
            ((660, 134), (660, 380)),
            (652, 330),
            "retries used up, KILL,",
            "end",
            scripts=("bury", "recover"),
        ),
        Arrow((), (652, 348), "or three crashes", "end"),
        Arrow(
            ((715, 134), (715, 262), (820, 262)),
            (767, 254),
            "",
            scripts=("discard", "end"),
        ),
        Arrow(
            ((570, 412), (340, 412), (340, 134)),
            (455, 404),
            "retried by a person",
            dashed=True,
            scripts=("replace",),
        ),
    ),
)

PROCESSES = Diagram(
    960,
    520,
    "The processes: the master forks the keeper, the workers and, with preload, the zygote; these, "
    "the application and the dashboard talk to Redis, and jobctl to the master.",
    (
        Box(230, 16, 714, 322, "", (), "host"),
        Arrow((), (246, 40), "one daemon", "start"),
        Box(20, 54, 150, 64, "jobctl", ("status, stop, reload",), "outside"),
        Box(480, 54, 230, 82, "Master", ("forks, watches, replaces;", "no application, no Redis")),
        Box(
            250,
            216,
            150,
            100,
            "Zygote",
            ("with preload: imports", "the application and", "forks the workers"),
            "maybe",
        ),
        Box(
            430,
            216,
            150,
            100,
            "Keeper",
            ("due jobs, leases,", "jobs of dead workers;", "no application"),
        ),
        Box(
            610,
            216,
            150,
            100,
            "worker.0",
            ("the application,", "threads and a loop", "for its jobs"),
        ),
        Box(790, 216, 135, 100, "worker.1", ("the same: as many", "as you set")),
        Box(
            430,
            420,
            495,
            72,
            "Redis or Valkey",
            ("queues, schedule, retries, dead jobs, what is in flight",),
            "redis",
        ),
        Box(20, 360, 150, 64, "Your application", ("web, scripts, jobs",), "outside"),
        Box(20, 440, 150, 64, "Dashboard", ("jobd web, or mounted",), "outside"),
        Arrow(((170, 86), (480, 86)), (325, 78), "socket"),
        Arrow(((520, 136), (520, 216)), (512, 182), "fork", "end"),
        Arrow(((640, 136), (640, 216)), (648, 182), "fork", "start"),
        Arrow(((710, 95), (857, 95), (857, 216)), (849, 182), "fork", "end"),
        Arrow(
            ((500, 136), (500, 160), (325, 160), (325, 216)),
            (333, 182),
            "fork",
            "start",
            dashed=True,
        ),
        Arrow(((505, 316), (505, 420)), (513, 382), "promote, recover, renew", "start"),
        Arrow(((685, 316), (685, 420)), (693, 382), "claim, end", "start"),
        Arrow(((857, 316), (857, 420))),
        Arrow(((170, 392), (300, 392), (300, 440), (430, 440)), (178, 384), "push", "start"),
        Arrow(((170, 472), (430, 472)), (178, 464), "read, retry, delete, cancel", "start"),
    ),
)

DIAGRAMS = {"road": ROAD, "processes": PROCESSES}

LIGHT = {
    "ground": "#ffffff",
    "text": "#1f2430",
    "soft": "#5b6475",
    "line": "#5b6475",
    "plain": "#eef1f7 #9aa5b8",
    "redis": "#fdeceb #d0605a",
    "end": "#e9f6ee #4f9d6b",
    "outside": "#eaf1fd #5a86d0",
    "maybe": "#ffffff #9aa5b8",
    "host": "#f8f9fb #d5dae3",
}
DARK = {
    "ground": "#131416",
    "text": "#e6e9ef",
    "soft": "#a3adbd",
    "line": "#8c97a8",
    "plain": "#262b34 #5d6878",
    "redis": "#3a2220 #c4665f",
    "end": "#1b3325 #5aa876",
    "outside": "#1c2a41 #648fd6",
    "maybe": "#131416 #5d6878",
    "host": "#1a1c20 #363b44",
}


def svg(diagram: Diagram, colors: dict[str, str]) -> str:
    """The picture in these colors."""
    size = f'width="{diagram.width}" height="{diagram.height}"'
    boxes = [part for part in diagram.parts if isinstance(part, Box)]
    arrows = [part for part in diagram.parts if isinstance(part, Arrow)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {diagram.width} {diagram.height}" '
        f'{size} font-family="{FONT}" font-size="13" role="img">\n'
        f"<title>{escape(diagram.text)}</title>\n"
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{colors["line"]}"/>'
        "</marker></defs>\n"
        f'<rect {size} fill="{colors["ground"]}" rx="8"/>\n'
    )
    drawn = [*(box(each, colors) for each in boxes), *(arrow(each, colors) for each in arrows)]
    return head + "".join(drawn) + "</svg>\n"


def box(part: Box, colors: dict[str, str]) -> str:
    """A rectangle with its text in the middle."""
    fill, line = colors[part.kind].split()
    dashes = ' stroke-dasharray="5 4"' if part.kind == "maybe" else ""
    middle = part.x + part.width // 2
    top = part.y + part.height // 2 - 8 * len(part.lines) + 5
    text = [
        f'<text x="{middle}" y="{top}" text-anchor="middle" font-weight="600" font-size="14" '
        f'fill="{colors["text"]}">{escape(part.name)}</text>\n'
    ]
    text += [
        f'<text x="{middle}" y="{top + 18 + 16 * n}" text-anchor="middle" font-size="12" '
        f'fill="{colors["soft"]}">{escape(line)}</text>\n'
        for n, line in enumerate(part.lines)
    ]
    return (
        f'<rect x="{part.x}" y="{part.y}" width="{part.width}" height="{part.height}" rx="8" '
        f'fill="{fill}" stroke="{line}" stroke-width="1.5"{dashes}/>\n'
    ) + ("".join(text) if part.name else "")


def arrow(part: Arrow, colors: dict[str, str]) -> str:
    """A line with a tip, and its label."""
    made = ""
    if part.path:
        path = "M" + "L".join(f"{x} {y}" for x, y in part.path)
        dashes = ' stroke-dasharray="5 4"' if part.dashed else ""
        names = ", ".join(f"{name}.lua" for name in part.scripts)
        title = f"<title>{names}</title>" if names else ""
        made = (
            f'<path d="{path}" fill="none" stroke="{colors["line"]}" stroke-width="1.5"'
            f'{dashes} marker-end="url(#tip)">{title}</path>\n'
        )
    if part.label:
        x, y = part.at
        made += (
            f'<text x="{x}" y="{y}" text-anchor="{part.anchor}" font-size="12" '
            f'fill="{colors["text"]}">{escape(part.label)}</text>\n'
        )
    return made


if __name__ == "__main__":
    for name, diagram in DIAGRAMS.items():
        (IMAGES / f"{name}.svg").write_text(svg(diagram, LIGHT), encoding="utf-8")
        (IMAGES / f"{name}-dark.svg").write_text(svg(diagram, DARK), encoding="utf-8")
