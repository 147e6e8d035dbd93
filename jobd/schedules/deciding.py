"""What is to happen with a schedule whose next tick has come: a list of steps, from times alone.

Every step moves the stored next tick on from one time to a later one; a script takes it only if
that time is still there. So whoever takes part, each tick is decided once.
"""

from __future__ import annotations

from typing import NamedTuple

from jobd.schedules.entry import Entry

ON_TIME = 5.0
"""Seconds by which a tick may be late without counting as missed, if none are caught up with."""

MOST = 100
"""Most missed ticks that ``catch_up="all"`` pushes."""


class Step(NamedTuple):
    """One step.

    Attributes:
        tick: the stored next tick, from which it starts.
        then: the next tick after it.
        missed: why the tick is not pushed; "" if it is.
    """

    tick: float
    then: float
    missed: str = ""


def steps(entry: Entry, tick: float, now: float, unable: str = "") -> list[Step]:
    """The steps of a schedule whose stored next tick is *tick*.

    Args:
        unable: why nothing can be pushed now, which is not worth waiting for any longer.
    """
    line = entry.line
    allowed = min(entry.grace, ON_TIME) if entry.catch_up == "none" else entry.grace
    if unable:
        return [Step(tick, line.after(max(now, tick)), unable)]
    most = MOST if entry.catch_up == "all" else 1
    wanted = line.newest(tick, now, most)
    if len(wanted) < most:
        wanted = [tick, *wanted]
    wanted = [one for one in wanted if now - one <= allowed]
    following = line.after(max(now, tick))
    if not wanted:
        why = f"it was {now - tick:.0f} s late"
        return [Step(tick, following, why)]
    found = []
    if wanted[0] > tick:
        late = "a later tick is due"
        if entry.catch_up != "last" or now - tick > allowed:
            late = f"it was {now - tick:.0f} s late"
        found.append(Step(tick, wanted[0], late))
    ends = [*wanted[1:], following]
    return found + [Step(one, then) for one, then in zip(wanted, ends, strict=True)]
