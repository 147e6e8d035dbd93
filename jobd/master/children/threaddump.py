"""A dump of all threads of all processes, with or without their cooperation.

They are asked first. A process that does not answer is made to write its stacks by a signal handler
in C, which reads running threads and has been seen to crash.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable

from jobd.master.children.child import Child
from jobd.master.children.child_events import Staff
from jobd.master.children.replies import Gathering
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.messages import FromChild
from jobd.runtime.ipc.scoreboard import Running
from jobd.runtime.process import processes, stacks
from jobd.runtime.process.signals import RAW_DUMP
from jobd.text.printable import shown
from jobd.wire.job_name import listed

ANSWER_WITHIN = 1.0
RAW_WITHIN = 0.5

_tokens = itertools.count(1)


class ThreadDump:
    """Collects the stacks of *children*, and those of the master if wanted.

    *emit* gets each role and its text as it arrives; *done* gets the roles that did not answer and
    were dumped raw. With *busy* only threads that run jobs are shown; with *arguments*, the
    arguments of those jobs, too, for processes that answer.
    """

    def __init__(
        self,
        staff: Staff,
        emit: Callable[[str, str], None],
        done: Callable[[list[str]], None],
        children: list[Child],
        *,
        master: bool = False,
        busy: bool = False,
        arguments: bool = False,
    ) -> None:
        self._staff = staff
        self._emit = emit
        self._done = done
        self._busy = busy
        if master:
            emit("master", f"== master, pid {os.getpid()} ==\n{stacks.dump()}")
        token = next(_tokens)
        for child in children:
            child.tell(messages.Dump(token, busy=busy, arguments=arguments))
        deadline = time.monotonic() + ANSWER_WITHIN

        def text(message: FromChild) -> str | None:
            if isinstance(message, messages.Stacks) and message.id == token:
                return message.text
            return None

        staff.gatherings.ask(Gathering(text, children, deadline, self._answered))

    def _answered(self, gathering: Gathering) -> None:
        for child, text in gathering.answers.items():
            self._emit(child.role, f"{_title(child)}\n{text.rstrip()}\n")
        mute = list(gathering.missing)
        if not mute:
            self._done([])
            return
        # Read now: by the time the stacks have been read, a job may have ended.
        running = {child.role: child.workplace.page.running() for child in mute}
        for child in mute:
            child.workplace.dump.clear()
            if processes.run_state(child.pid) not in processes.UNABLE:
                child.send_signal(RAW_DUMP)
        # No child answers this one: it is the time for the C handlers.
        deadline = time.monotonic() + RAW_WITHIN
        self._staff.gatherings.ask(
            Gathering(
                lambda _message: None,
                mute,
                deadline,
                lambda _gathering: self._raw(mute, running),
            )
        )

    def _raw(self, mute: list[Child], running: dict[str, list[Running]]) -> None:
        for child in mute:
            state = processes.run_state(child.pid)
            text = child.workplace.dump.read().rstrip()
            if self._busy:
                text = _only(text, {job.thread_ident for job in running[child.role]})
            if not text:
                text = f"no stacks: {processes.UNABLE.get(state, 'it did not react')}"
            self._emit(
                child.role,
                f"{_title(child)}\nraw dump: the process did not answer within "
                f"{ANSWER_WITHIN:g} s\n{_named(running[child.role])}{text}\n",
            )
        self._done([child.role for child in mute])


def _title(child: Child) -> str:
    return f"== {child.role}, pid {child.pid}, {child.stage}, generation {child.generation} =="


def _only(dump: str, threads: set[int]) -> str:
    """The parts of a raw dump that are about *threads*; all of it if none is."""
    parts = dump.split("\n\n")
    wanted = [f"0x{ident:016x} " for ident in threads]
    chosen = [part for part in parts if any(one in part.partition("\n")[0] for one in wanted)]
    return "\n\n".join(chosen) or dump


def _named(running: list[Running]) -> str:
    """The jobs of a process that does not answer."""
    now = time.monotonic_ns()
    return "".join(
        f"thread 0x{job.thread_ident:016x} has been running "
        f"{shown(listed([job.name]))} for {(now - job.started) / 1e9:.1f} s\n"
        for job in running
    )
