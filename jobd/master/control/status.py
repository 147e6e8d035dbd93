"""The status of the master and its children, for the state file and ``jobctl status``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from jobd.master.children.child import Child
from jobd.master.children.child_events import Staff
from jobd.master.control.messages import BackOff, ChildStatus, DaemonStatus, OutageStatus
from jobd.master.files.statefile import ChildRecord, State
from jobd.master.phase import Phase
from jobd.runtime.ipc.scoreboard import FAILED, IN_FLIGHT, MAIN_BEAT
from jobd.runtime.process import processes
from jobd.settings.daemon import Config
from jobd.version import VERSION

_SILENT = 10.0  # s; it beats every second


def _record(child: Child) -> ChildRecord:
    return ChildRecord(
        slot=child.index,
        pid=child.pid,
        ticks=child.ticks,
        identity=child.identity,
        generation=child.generation,
        state=child.stage,
        reason=child.reason or "",
        dump=child.workplace.dump.fd,
        trouble=child.trouble,
        since=round(time.time() - (time.monotonic() - child.forked_at), 3),
        processed=child.processed,
        memory=child.memory,
    )


def state(phase: Phase, generation: int, staff: Staff, config: Config, socket: str) -> State:
    """The content of the state file."""
    keeper = staff.slots.keeper.child
    return State(
        pid=os.getpid(),
        ticks=processes.start_ticks(os.getpid()) or 0,
        boot_id=processes.boot_id(),
        uid=os.geteuid(),
        version=VERSION,
        state=phase,
        generation=generation,
        degraded=staff.slots.degraded,
        saved=round(time.time(), 3),
        socket=socket,
        logfile=config.logfile,
        timeout=config.timeout,
        keeper=_record(keeper) if keeper else None,
        zygotes=tuple(_record(child) for child in staff.slots.zygotes()),
        workers=tuple(_record(child) for child in staff.slots.worker_children()),
        unrecovered=staff.recoveries.entries(),
    )


def line(phase: Phase, generation: int, staff: Staff, troubles: Sequence[str]) -> str:
    """One line for systemd. *troubles* are those of the daemon as a whole."""
    children = staff.slots.worker_children()
    ready = sum(child.serving for child in children)
    busy = sum(len(child.workplace.page.sequences()) for child in children)
    degraded = " DEGRADED" if staff.slots.degraded else ""
    wanted = len(staff.slots.workers)
    text = f"{phase}{degraded} gen {generation}: {ready}/{wanted} workers, {busy} busy"
    waiting = sum(slot.backing_off for slot in staff.slots.all())
    if waiting:
        text += f", {waiting} in back-off"
    notes = [*troubles]
    notes += sorted({child.note for child in staff.slots.children() if child.note})
    if missing := outage(staff, time.monotonic()):
        notes.append(f"Redis unavailable: {missing.error}")
    elif short := memory_short(staff):
        notes.append(short)
    troubles = [
        f"{child.role} {child.trouble}" for child in staff.slots.children() if child.trouble
    ]
    return "; ".join([text, *notes, *troubles])


def outage(staff: Staff, now: float) -> OutageStatus | None:
    """Which children cannot reach Redis, the longest time, and the most recent error."""
    children = staff.slots.children()
    missing = sorted(
        (child for child in children if child.outage), key=lambda child: child.outage_since
    )
    if not missing:
        return None
    return OutageStatus(
        processes=[child.role for child in missing],
        seconds=round(now - missing[0].outage_since, 1),
        error=missing[-1].outage,
    )


def memory_short(staff: Staff) -> str:
    """The keeper's warning about a server that is nearly full."""
    keeper = staff.slots.keeper.child
    return keeper.memory_short if keeper else ""


def _condition(child: Child) -> str:
    """A summary of a child's condition; "" if there is nothing to report."""
    age = child.workplace.page.age(MAIN_BEAT)
    silence = f"no sign of life for {age:.0f} s" if age > _SILENT else ""
    why = child.reason or child.cause or child.note
    away = "Redis unavailable" if child.outage else "no control channel" if child.control else ""
    said = (child.trouble, why, away, silence, child.listener)
    return ", ".join(dict.fromkeys(text for text in said if text))


def _child(child: Child, now: float, threads: int) -> ChildStatus:
    page = child.workplace.page
    busy = len(page.sequences())
    return ChildStatus(
        role=child.role,
        pid=child.pid,
        state=child.stage,
        reason=_condition(child),
        trouble=child.trouble or child.listener,
        outage=child.outage,
        control="" if child.outage else child.control,
        generation=child.generation,
        uptime=round(now - child.forked_at, 1),
        # Read from the scoreboard: a worker whose GIL is held counts nothing itself.
        busy=busy,
        coroutines=busy - len(page.sequences(threads)),
        in_flight=page.words[IN_FLIGHT],
        processed=child.processed,
        failed=page.words[FAILED],
        beat_age=round(page.age(MAIN_BEAT), 4),
        rss=processes.resident_bytes(child.pid),
        memory=child.memory,
    )


def status(
    phase: Phase,
    cause: str,
    entered: float,
    generation: int,
    started: float,
    staff: Staff,
    config: Config,
    *,
    postponed: bool,
    reload_trouble: str,
    crash_loop: str,
    log_trouble: str,
) -> DaemonStatus:
    """The answer to ``jobctl status --json``.

    *cause* is the cause of *phase*, which was *entered* then (monotonic s, like *started*); the
    answer's ``since`` is the same as a Unix time.
    """
    now, threads = time.monotonic(), config.concurrency
    backing_off = [
        BackOff(role=slot.role, seconds=round(slot.start_at - now, 1), cause=slot.crash)
        for slot in staff.slots.all()
        if slot.backing_off
    ]
    return DaemonStatus(
        pid=os.getpid(),
        version=VERSION,
        state=phase,
        cause=cause,
        since=round(time.time() - (now - entered), 3),
        degraded=staff.slots.degraded,
        crash_loop=crash_loop,
        reload_postponed=postponed,
        reload_trouble=reload_trouble,
        uptime=round(now - started, 1),
        generation=generation,
        rss=processes.resident_bytes(os.getpid()),
        tag=config.tag,
        redis=config.redacted().redis,
        outage=outage(staff, now),
        memory_short=memory_short(staff),
        log_trouble=log_trouble,
        logfile=config.logfile,
        concurrency=config.concurrency,
        async_concurrency=config.async_concurrency,
        queues=[queue.name for queue in config.queues],
        unrecovered=len(staff.recoveries),
        backing_off=backing_off,
        empty=[slot.role for slot in staff.slots.all() if slot.empty and not slot.backing_off],
        keeper=_child(keeper, now, threads) if (keeper := staff.slots.keeper.child) else None,
        zygotes=[_child(child, now, threads) for child in staff.slots.zygotes()],
        workers=[
            _child(child, now, threads)
            for child in sorted(
                staff.slots.worker_children(), key=lambda child: (child.index, child.generation)
            )
        ],
    )
