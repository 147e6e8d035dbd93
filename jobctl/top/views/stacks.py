"""What the threads of one process are doing, asked for when somebody looks."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.data.words import ago
from jobctl.top.source import Source
from jobctl.top.views.text import TextView, block
from jobd.api.actions import PROCESS_ACTIONS
from jobd.api.processes import Process
from jobd.api.stacks import Stacks

_PATIENCE = 12.0
"""Seconds within which a process answers: it may learn of it with its next heartbeat."""

_EVERY = 0.4


class StacksView(TextView[None]):
    """The page.

    Args:
        process: whose threads they are.
        first: the id of a job; the thread that runs it stands first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "again", "Ask again")]

    def __init__(self, source: Source, process: Process, first: str = "") -> None:
        super().__init__(source, f"Stacks of {process.identity}")
        self._process, self._first = process, first

    def on_mount(self) -> None:
        self.action_again()

    def action_again(self) -> None:
        """Ask for them."""
        self.run_worker(self.told(self._ask()), group="asking", exclusive=True)

    async def _ask(self) -> None:
        process = self._process
        if process.embedded:
            return self.write(Text(f"{process.identity} is a part of another program."))
        self.write(Text("asking ..."))
        dump = PROCESS_ACTIONS["dump"]
        await self.source.act(lambda api: dump.do(api.processes, process))
        if not process.is_jobd:
            return self.write(Text("This is a Sidekiq: its stacks are in its log."))
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            told = await self.source.act(lambda api: api.processes.stacks([process.identity]))
            if stacks := told.get(process.identity):
                return self.write(_text(stacks, self._first))
            await asyncio.sleep(_EVERY)
        return self.write(
            Text(
                f"No answer within {_PATIENCE:g} s: the process hangs or is gone. "
                "jobctl threads on its host shows raw stacks."
            )
        )


def _text(stacks: Stacks, first: str) -> Text:
    head = Text(f"taken {ago(stacks.at)}\n\n", "dim")
    return head.append_text(block(_with_first(stacks.text, first)))


def _with_first(text: str, jid: str) -> str:
    """The stacks, those of the thread that runs the job *jid* before the others.

    >>> _with_first("worker\\n\\nthread 1\\n  f\\n\\nthread 2 ab\\n  g", "ab")
    'worker\\n\\nthread 2 ab\\n  g\\n\\nthread 1\\n  f'
    """
    head, *threads = text.split("\n\n")
    if jid:
        threads.sort(key=lambda thread: jid not in thread)
    return "\n\n".join([head, *threads])
