"""Collects answers from several children, with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jobd.master.children.child import Child
from jobd.runtime.ipc.messages import FromChild


class Gathering:
    """One question to several children.

    *done* is called once: when all have answered or exited, or at *deadline* (monotonic seconds).

    Args:
        read: returns the text of an answer to this question ("" for one without), None for any
            other message.

    Attributes:
        answers: the texts received, by child.
        missing: children that have not answered.
    """

    def __init__(
        self,
        read: Callable[[FromChild], str | None],
        children: Iterable[Child],
        deadline: float,
        done: Callable[[Gathering], None],
    ) -> None:
        self.deadline = deadline
        self.answers: dict[Child, str] = {}
        self.missing = list(children)
        self._read = read
        self._done = done

    def answer(self, child: Child, message: FromChild) -> None:
        """Take *message* if it is an answer to this question."""
        if (text := self._read(message)) is not None:
            self.lost(child)
            self.answers[child] = text

    def lost(self, child: Child) -> None:
        """Stop waiting for *child*."""
        if child in self.missing:
            self.missing.remove(child)

    def finish_if_due(self, now: float) -> bool:
        """Call *done* if there is nothing left to wait for; returns whether it has been called."""
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

    def answer(self, child: Child, message: FromChild) -> None:
        for gathering in self._open:
            gathering.answer(child, message)

    def lost(self, child: Child) -> None:
        for gathering in self._open:
            gathering.lost(child)

    def turn(self, now: float) -> None:
        """Finish questions that are complete or overdue."""
        for gathering in list(self._open):
            if gathering.finish_if_due(now):
                self._open.remove(gathering)

    def next_deadline(self) -> float:
        return min((gathering.deadline for gathering in self._open), default=float("inf"))
