"""The graph of a workflow as a drawing: boxes in columns, and lines from each to what waits for it.

It is made on the server, so that it needs no script. Many steps of one job that stand side by side
are one box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jobd.features.workflows.record import StepInfo
from jobd.graphs.graph import followers
from jobd.text.printable import cut

WIDTH, HEIGHT = 168, 46
GAP_X, GAP_Y = 56, 16
MARGIN = 6

MOST_COLUMNS, MOST_BOXES = 60, 200
"""Beyond that nobody would see anything."""

TOGETHER = 6
"""So many steps of one job in a column are one box."""

_WORST = ("failed", "expired", "cancelled", "blocked", "pushed", "waiting", "unused", "done")


@dataclass(frozen=True, slots=True)
class Box:
    """A step, or many.

    Attributes:
        state: that of the step, or of the one of them that matters most.
        title: its name, or its job.
        count: how many steps it stands for, and of these ``done`` are done.
        jid: of the job, if it is one.
    """

    x: int
    y: int
    state: str
    title: str
    job: str
    count: int
    done: int
    jid: str
    joint: bool


@dataclass(frozen=True, slots=True)
class Line:
    """From a box to one that waits for it; *path* is that of SVG.

    Attributes:
        aside: to what undoes the step, or is told of its failure.
    """

    path: str
    state: str
    aside: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def drawing(steps: Sequence[StepInfo]) -> Drawing | None:
    """The drawing of a workflow; None if it would be too large."""
    shown = [one for one in steps if not one.role or one.state != "unused"]
    columns = _columns(steps)
    if max(columns, default=0) >= MOST_COLUMNS:
        return None
    groups = _groups(shown, columns)
    if len(groups) > MOST_BOXES:
        return None
    heights: Counter[int] = Counter()
    boxes: list[Box] = []
    place: dict[int, Box] = {}
    for members in groups:
        column = columns[members[0].number]
        box = _box(members, column, heights[column])
        heights[column] += 1
        boxes.append(box)
        place.update((one.number, box) for one in members)
    lines: dict[tuple[int, int], Line] = {}
    for one in shown:
        before = (one.of,) if one.role else one.after
        for number in before:
            start, end = place.get(number), place[one.number]
            if start is not None and start is not end:
                lines[id(start), id(end)] = _line(start, end, aside=bool(one.role))
    width = 2 * MARGIN + (max(columns, default=0) + 1) * (WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + max(heights.values(), default=1) * (HEIGHT + GAP_Y) - GAP_Y
    return Drawing(max(width, WIDTH), height, tuple(boxes), tuple(lines.values()))


def _columns(steps: Sequence[StepInfo]) -> list[int]:
    """For each step, how many steps there are at most before it, one after the other."""
    found, waits = [0] * len(steps), [len(one.after) for one in steps]
    after = followers([one.after for one in steps])
    # Those that were added have numbers that are not in the order of their run. What a program has
    # written as a circle stays at the beginning.
    known = [number for number, count in enumerate(waits) if not count]
    while known:
        number = known.pop()
        for later in after[number]:
            found[later] = max(found[later], found[number] + 1)
            waits[later] -= 1
            if not waits[later]:
                known.append(later)
    last = max(found, default=0)
    for one in steps:
        if one.role and 0 <= one.of < len(found):
            found[one.number] = found[one.of] + 1
        elif one.role == "error":
            found[one.number] = last
    return found


def _groups(steps: Sequence[StepInfo], columns: Sequence[int]) -> list[list[StepInfo]]:
    alike: dict[tuple[object, ...], list[StepInfo]] = {}
    for one in steps:
        own = one.number if one.name else -1
        alike.setdefault((columns[one.number], one.job, one.role, own), []).append(one)
    groups: list[list[StepInfo]] = []
    for members in alike.values():
        if len(members) > TOGETHER:
            groups.append(members)
        else:
            groups += [[one] for one in members]
    return sorted(groups, key=lambda group: group[0].number)


def _box(members: list[StepInfo], column: int, row: int) -> Box:
    first = members[0]
    states = {one.state for one in members}
    return Box(
        MARGIN + column * (WIDTH + GAP_X),
        MARGIN + row * (HEIGHT + GAP_Y),
        next((state for state in _WORST if state in states), "waiting"),
        cut(first.name or first.job, 20),
        cut(first.job, 24) if first.name else "",
        len(members),
        sum(one.state == "done" for one in members),
        first.jid if len(members) == 1 else "",
        not first.job,
    )


def _line(start: Box, end: Box, *, aside: bool) -> Line:
    x1, y1 = start.x + WIDTH, start.y + HEIGHT // 2
    x2, y2 = end.x, end.y + HEIGHT // 2
    half = (x1 + x2) // 2
    return Line(f"M{x1} {y1}C{half} {y1} {half} {y2} {x2} {y2}", start.state, aside)
