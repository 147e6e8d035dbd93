"""Waiting for an answer from each of several children, without waiting for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jobd.master.children.child import Child
from jobd.runtime.ipc.channel import Message


class Gathering:
    """One question to several children.

    *done* is called once: when all have answered or gone, or at *deadline* (monotonic seconds).

    Attributes:
        kind: type of the answers.
        token: the ``id`` that the answers must carry, None for answers without one.
        answers: what came back, by child.
        missing: who has not answered.
    """

    def __init__(
        self,
        kind: str,
        children: Iterable[Child],
        deadline: float,
        done: Callable[[Gathering], None],
        token: int | None = None,
    ) -> None:
        self.kind = kind
        self.token = token
        self.deadline = deadline
        self.answers: dict[Child, Message] = {}
        self.missing = list(children)
        self._done = done

    def answer(self, child: Child, message: Message) -> None:
        """Take *message* if it is an answer to this question."""
        if message["type"] == self.kind and message.get("id") == self.token:
            self.lost(child)
            self.answers[child] = message

    def lost(self, child: Child) -> None:
        """Do not wait for *child* (any more)."""
        if child in self.missing:
            self.missing.remove(child)

    def finish_if_due(self, now: float) -> bool:
        """Call *done* when there is nothing left to wait for; True when it has been called."""
        if self.missing and now < self.deadline:
            return False
        self._done(self)
        return True


class Gatherings:
    """All open questions."""

    def __init__(self) -> None:
        self._open: list[Gathering] = []

    def ask(self, gathering: Gathering) -> None:
        self._open.append(gathering)

    def answer(self, child: Child, message: Message) -> None:
        for gathering in self._open:
            gathering.answer(child, message)

    def lost(self, child: Child) -> None:
        for gathering in self._open:
            gathering.lost(child)

    def turn(self, now: float) -> None:
        """Finish what is complete or overdue."""
        for gathering in list(self._open):
            if gathering.finish_if_due(now):
                self._open.remove(gathering)

    def next_deadline(self) -> float:
        return min((gathering.deadline for gathering in self._open), default=float("inf"))
