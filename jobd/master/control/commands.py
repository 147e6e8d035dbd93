"""The commands of jobctl, and when each counts as done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from jobd.errors import ConfigError
from jobd.master.children.child import Child, Slot, Stage
from jobd.master.children.replies import Gathering
from jobd.master.children.threaddump import ThreadDump
from jobd.master.control import messages as said
from jobd.master.control import status
from jobd.master.control.control_socket import Client, Request
from jobd.master.daemon import Daemon
from jobd.master.health.policies import Oversight
from jobd.master.log_care import OwnLog
from jobd.master.phase import Phase
from jobd.master.rollout import scale
from jobd.master.rollout.reload import Reload
from jobd.master.stop import Stop
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.launch import Verdict
from jobd.runtime.ipc.messages import FromChild
from jobd.runtime.log import log

_ANSWER_WITHIN = 5.0
_REOPEN_WITHIN = 2.0

logger = log.get("jobd.master")


def _names(children: Iterable[Child]) -> str:
    return ", ".join(f"{child.role} (pid {child.pid})" for child in children)


class Commands:
    """Executes the requests of the control socket, and the equivalent signals."""

    def __init__(
        self, daemon: Daemon, ending: Stop, reloads: Reload, own_log: OwnLog, oversight: Oversight
    ) -> None:
        self._daemon = daemon
        self._ending = ending
        self._reloads = reloads
        self._own_log = own_log
        self._oversight = oversight
        self._stopping: list[Client] = []

    def handle(self, client: Client, request: Request) -> None:
        """Handle one request."""
        if isinstance(request, said.Unknown):
            known = ", ".join(said.COMMANDS)
            client.failed(f"unknown command {request.command!r}; known are {known}")
            return
        if not isinstance(request, said.Status):
            logger.info("command_received", command=request.command, by=client.who)
        try:
            self._obey(client, request)
        except Exception:
            # An error in a request must not affect running jobs.
            logger.exception("command_failed", command=request.command)
            client.failed(f"{request.command}: internal error; the daemon goes on, see its log")

    def _obey(self, client: Client, request: said.Known | said.Malformed) -> None:
        match request:
            case said.Status():
                self._status(client)
            case said.Quiet():
                self._quiet(client)
            case said.Resume():
                self._resume(client)
            case said.Stop():
                self._stop(client, request.timeout)
            case said.Reload():
                self._reload(client)
            case said.Retire():
                self._retire(client, request.slot)
            case said.Scale():
                self._scale(client, request.workers)
            case said.Reopen():
                self._reopen(client)
            case said.Threads():
                self._threads(client, request)
            case said.Malformed():
                client.failed(request.error)

    def farewell(self, verdict: Verdict) -> None:
        """Tell the clients that wait for the stop that it is complete."""
        for client in self._stopping:
            client.done(said.Stopped(int(verdict.code), verdict.text, self._ending.returned))

    def _status(self, client: Client) -> None:
        daemon = self._daemon
        client.done(
            said.Shown(
                status.status(
                    daemon.phase,
                    daemon.cause,
                    daemon.entered,
                    daemon.generation,
                    daemon.started,
                    daemon.staff,
                    daemon.config,
                    postponed=self._reloads.postponed,
                    reload_trouble=self._reloads.trouble,
                    crash_loop=self._oversight.crash_loop,
                    log_trouble=self._own_log.trouble,
                )
            )
        )

    def _quiet(self, client: Client) -> None:
        daemon = self._daemon
        if daemon.phase.ending:
            client.failed("it is stopping")
            return
        affected = self._workers(Stage.READY)
        starting = daemon.phase is Phase.STARTING
        daemon.quiet(client.who)
        if starting:
            client.done(said.QuietSoon("it is starting and will be quiet as soon as it is ready"))
            return
        self._await(messages.Quieted, affected, _ANSWER_WITHIN, client)

    def _resume(self, client: Client) -> None:
        if self._daemon.phase.ending:
            client.failed("it is stopping; a stop cannot be taken back")
            return
        affected = self._workers(Stage.QUIET)
        self._daemon.resume(client.who)
        self._await(messages.Resumed, affected, _ANSWER_WITHIN, client)

    def _workers(self, stage: Stage) -> list[Child]:
        children = self._daemon.staff.slots.worker_children()
        return [child for child in children if child.stage is stage]

    def _await(
        self, kind: type[FromChild], children: list[Child], seconds: float, client: Client
    ) -> None:
        def read(message: FromChild) -> str | None:
            return "" if isinstance(message, kind) else None

        def finish(gathering: Gathering) -> None:
            if gathering.missing:
                client.failed(f"no answer from {_names(gathering.missing)}")
            else:
                client.done()

        client.send(said.Accepted())
        self._daemon.staff.gatherings.ask(
            Gathering(read, children, time.monotonic() + seconds, finish)
        )

    def _stop(self, client: Client, timeout: float | None) -> None:
        self._ending.gracefully(client.who, timeout)
        client.accept(self._ending.waits_for, self._ending.limit)
        self._stopping.append(client)

    def _reload(self, client: Client) -> None:
        if error := self._reloads.request(client.who, client):
            client.failed(error)
        elif self._reloads.postponed:
            client.done(said.Postponed())
        else:
            client.accept(self._reloads.waits_for)

    def _retire(self, client: Client, number: int) -> None:
        daemon = self._daemon
        slots = daemon.staff.slots.workers
        if not 0 <= number < len(slots):
            client.failed(self._no_worker(number))
        elif daemon.phase.quiet:
            client.failed("the daemon is quiet and replaces no worker before the resume")
        elif daemon.phase is not Phase.RUNNING:
            client.failed(f"the daemon is {daemon.phase}")
        elif (child := slots[number].child) is None or child.stage is not Stage.READY:
            client.failed(self._not_at_work(slots[number]))
        else:
            self._oversight.recycle.want(child, f"asked for by {client.who}")
            client.done(said.Retired(child.pid))

    def _not_at_work(self, slot: Slot) -> str:
        """Why the worker of *slot* cannot be replaced now."""
        if slot.child is not None:
            return f"{slot.role} (pid {slot.child.pid}) is {slot.child.stage}, not ready"
        return self._vacant(slot)

    def _vacant(self, slot: Slot) -> str:
        """The state of a slot without a process."""
        if slot.backing_off:
            left = max(0.0, slot.start_at - time.monotonic())
            return f"{slot.role} has crashed ({slot.crash}) and is started again in {left:.0f} s"
        return f"{slot.role} has no process now"

    def _no_process(self, name: str, children: list[Child]) -> str:
        """Why there is no process *name*."""
        for slot in self._daemon.staff.slots.all():
            if slot.role == name:
                return self._vacant(slot)
        there = ", ".join(["master", *dict.fromkeys(child.role for child in children)])
        return f"there is no process {name}; there are {there}"

    def _no_worker(self, number: int) -> str:
        """Why *number* is not the number of a worker."""
        slots = self._daemon.staff.slots
        for child in slots.worker_children():
            if child.pid == number:
                return f"{number} is the process id of {child.role}: give {child.role}"
        last = len(slots.workers) - 1
        there = f"there are worker.0 to worker.{last}" if last else "there is only worker.0"
        return f"there is no worker.{number}: {there}"

    def _scale(self, client: Client, workers: int) -> None:
        try:
            count = scale.allowed(self._daemon, workers)
        except ConfigError as error:
            client.failed(str(error))
            return
        before = list(self._daemon.staff.slots.workers)
        scale.scale(self._daemon, count, client.who)
        leaving = {slot.role: slot.child.pid for slot in before[count:] if slot.child is not None}
        client.done(said.Scaled(len(before), leaving))

    def _reopen(self, client: Client) -> None:
        client.send(said.Accepted())
        self._reopen_all(client.done, client.failed)

    def reopen_quietly(self, _cause: str) -> None:
        """Reopen the logs on USR2; no client waits, so problems are logged."""
        self._reopen_all(
            lambda: logger.info("logs_reopened"),
            lambda error: logger.error("logs_not_reopened", reason=error),
        )

    def _reopen_all(self, done: Callable[[], None], failed: Callable[[str], None]) -> None:
        # The master first: it creates the file with the right owner.
        problems: dict[str, list[str]] = {}
        if error := self._own_log.reopen():
            problems[error] = [f"master (pid {os.getpid()})"]
        staff = self._daemon.staff
        staff.tell(messages.Reopen())
        # Booting children read their messages only when they have booted.
        awaited = [child for child in staff.slots.children() if child.stage is not Stage.BOOTING]

        def read(message: FromChild) -> str | None:
            return message.error or "" if isinstance(message, messages.Reopened) else None

        def finish(gathering: Gathering) -> None:
            for child, error in gathering.answers.items():
                if error:
                    problems.setdefault(error, []).append(_names([child]))
            # Mostly the problem is the same for all.
            said = [f"{why} ({', '.join(who)})" for why, who in problems.items()]
            if gathering.missing:
                said.append(f"no answer from {_names(gathering.missing)}")
            if said:
                failed("; ".join(said))
            else:
                done()

        deadline = time.monotonic() + _REOPEN_WITHIN
        staff.gatherings.ask(Gathering(read, awaited, deadline, finish))

    def _threads(self, client: Client, request: said.Threads) -> None:
        children = self._daemon.staff.slots.children()
        # By role and by process id: `jobctl status` shows both.
        names: dict[str, Child | None] = {"master": None, str(os.getpid()): None}
        names |= {str(key): child for child in children for key in (child.pid, child.role)}
        wanted = [str(one) for one in request.of] or [
            "master",
            *(str(child.pid) for child in children),
        ]
        if missing := [name for name in wanted if name not in names]:
            client.failed(self._no_process(missing[0], children))
            return
        chosen = list(dict.fromkeys(names[name] for name in wanted))
        busy = request.busy
        client.send(said.Accepted())
        ThreadDump(
            self._daemon.staff,
            lambda _role, text: client.send(said.Text(text)),
            lambda mute: client.done(said.Dumped(mute)),
            [one for one in chosen if one and (not busy or one.workplace.page.sequences())],
            master=None in chosen and not busy,
            busy=busy,
            arguments=True,
        )

    def dump_to_log(self, _cause: str) -> None:
        """Log every thread's stack on TTIN."""
        ThreadDump(
            self._daemon.staff,
            lambda role, text: logger.info("thread_dump", of=role, stack=text),
            lambda mute: logger.info("thread_dump_complete", raw=mute),
            self._daemon.staff.slots.children(),
            master=True,
        )
