"""The thread dump of a worker: what each thread and coroutine runs, for how long, and its stack."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Set

from jobd.runtime.process import stacks
from jobd.runtime.process.stacks import Section
from jobd.text.counting import counted
from jobd.text.printable import cut, name_of
from jobd.wire.job_name import job_name, shown_arguments
from jobd.worker.engine import Engine
from jobd.worker.run.loop import frames_of
from jobd.worker.run.pool import Working


def dump(
    name: str,
    engine: Engine,
    waiting: Set[str],
    *,
    busy: bool,
    arguments: bool,
) -> str:
    """The stacks of this process.

    Args:
        name: the worker's name, for the heading.
        waiting: names of idle threads outside the pool.
        busy: only the threads and coroutines that run jobs.
        arguments: include the arguments of these jobs.
    """
    pool, tasks, loop = engine.pool, engine.tasks, engine.loop
    holding, now = engine.fetcher.holding, time.monotonic_ns()

    def note(work: Working) -> str:
        text = f"{job_name(work.job.payload) or 'a malformed job'} "
        text += f"from {cut(work.job.queue, 200)}, for {(now - work.started) / 1e9:.1f} s"
        return f"{text}, with {shown_arguments(work.job.payload)}" if arguments else text

    idents = {name_of(thread, 200): thread.ident for thread in threading.enumerate()}
    notes = {
        ident: note(work)
        for work in pool.working()
        if (ident := idents.get(work.thread)) is not None
    }
    runs = tasks.runs()
    sections = [Section(f"{work.thread}: {note(work)}", frames_of(task)) for work, task in runs]
    coroutines = f", {len(runs)} of {tasks.size} coroutines" if runs else ""
    heading = (
        f"{name}: {len(notes)} of {pool.size} threads busy{coroutines}, "
        f"{counted(holding, 'job')} in flight"
    )
    if busy:
        return stacks.dump(heading, notes, others=sections, only=notes)
    ours = {task for _, task in runs}
    left = loop.left
    for task in asyncio.all_tasks(loop.running) - ours if loop.running else ():
        job = left.get(task)
        whose = f", left behind by {job.name} {job.jid}" if job else ""
        sections.append(Section(f"{task.get_name()}{whose}", frames_of(task)))
    idle = [
        ident
        for thread, ident in idents.items()
        if thread in pool.names | waiting and ident is not None and ident not in notes
    ]
    return stacks.dump(heading, notes, idle, sections)
