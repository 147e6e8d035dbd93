"""`jobctl stop` and `reload --wait` end, whatever listens in the master's place."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from signal import Signals
from types import SimpleNamespace
from typing import Any

import pytest

from jobctl.codes import Code, Problem, Silence
from jobctl.daemon import answers, stop
from jobctl.daemon.answers import Answers
from jobctl.daemon.stop import Stop
from jobd.master.control import messages


class Listener:
    """What is at the other end, and the process that it says to be: it *ends* of these signals."""

    def __init__(self, *ends: Signals) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.signals: list[str] = []
        self.waited: list[float] = []
        self.timeout = 8.0
        self._ends = set(ends)
        self._ended = False
        self.process = SimpleNamespace(pid=4711, wait=self._wait)

    def says(self, **fields: Any) -> None:
        self.theirs.sendall(json.dumps(fields).encode() + b"\n")

    def ask(self, request: messages.Request, *, limit: float) -> Answers:
        return Answers(self.ours, request, limit)

    def signal(self, signum: Signals) -> None:
        self.signals.append(signum.name)
        self._ended = self._ended or signum in self._ends

    def kill(self) -> None:
        self.signal(Signals.SIGKILL)

    def state(self) -> Any:
        return SimpleNamespace(timeout=self.timeout)

    def _wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return self._ended

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def stop(self, timeout: float | None = None, *, kill: bool = False) -> tuple[Code, str]:
        return Stop(self, timeout, kill=kill).run()  # type: ignore[arg-type]


@pytest.fixture
def listening() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(*ends: Signals) -> Listener:
        made.append(Listener(*ends))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(answers, "LAST_ANSWER", 0.3)
    monkeypatch.setattr(answers, "FIRST_ANSWER", 0.3)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20, "and not a day"


def test_one_that_accepts_and_says_nothing_more_gets_the_signal(
    listening: Callable[..., Listener],
) -> None:
    listener = listening(Signals.SIGTERM)
    listener.says(type="accepted", limit=86400.0)
    assert listener.stop() == (Code.DONE, "")
    assert listener.signals == ["SIGTERM", "SIGCONT"]


def test_one_that_does_not_end_of_it_is_told_to_stop_at_once(
    listening: Callable[..., Listener],
) -> None:
    listener = listening(Signals.SIGQUIT)
    listener.says(type="accepted", limit=86400.0)
    assert listener.stop() == (Code.DONE, "")
    assert listener.signals == ["SIGTERM", "SIGCONT", "SIGQUIT"]
    assert listener.waited[0] == 68


@pytest.mark.parametrize("kill", [False, True])
def test_one_that_never_ends_is_told_of_or_killed(
    listening: Callable[..., Listener], kill: bool
) -> None:
    listener = listening(Signals.SIGKILL)
    listener.says(type="accepted")
    if kill:
        assert listener.stop(kill=True)[0] == Code.PARTIAL
    else:
        with pytest.raises(Problem, match="pid 4711 has not stopped") as raised:
            listener.stop()
        assert raised.value.code == Code.TIMED_OUT


def test_jobs_that_may_have_longer_are_not_cut_short_because_the_master_is_mute(
    listening: Callable[..., Listener],
) -> None:
    listener = listening(Signals.SIGQUIT)
    listener.timeout = 3600.0
    with pytest.raises(Problem, match="its jobs may take 3600 s"):
        listener.stop()
    assert listener.signals == ["SIGTERM", "SIGCONT"]
    assert max(listener.waited) == 660, "nor is it waited for all of that time"


def test_what_it_says_that_it_takes_is_bounded_by_what_was_given(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on saying that it waits."""
    monkeypatch.setattr(answers, "LAST_ANSWER", 30.0)
    monkeypatch.setattr(stop, "_BEYOND", 0.2)
    monkeypatch.setattr(stop, "_MARGIN", 0.2)
    listener = listening(Signals.SIGQUIT)
    listener.says(type="accepted", limit=86400.0)
    listener.says(type="waiting", text="Godot", seconds=9.0)
    assert listener.stop(0.0) == (Code.DONE, "")
    assert listener.signals == ["SIGQUIT"], "it was heard, so it needs no second word"


def test_what_is_waited_for_is_told_once(
    listening: Callable[..., Listener], capsys: pytest.CaptureFixture[str]
) -> None:
    listener = listening()
    listener.says(type="accepted", limit=40.0)
    for text in ("worker.0 (pid 3)", "worker.0 (pid 3)", "the keeper\x1b[2J"):
        listener.says(type="waiting", text=text, seconds=7.4)
    listener.says(type="done", returned=3)
    listener.theirs.close()
    listener.signal(Signals.SIGTERM)
    listener._ended = True
    stopping = Stop(listener, None, kill=False)  # type: ignore[arg-type]
    assert stopping.run() == (Code.DONE, "")
    assert stopping.returned == 3
    assert capsys.readouterr().err == (
        "jobctl: stop: waiting for worker.0 (pid 3) (for 7 s at most)\n"
        "jobctl: stop: waiting for the keeper\\x1b[2J (for 7 s at most)\n"
    )


def test_a_reload_that_is_taken_and_never_told_of_again_is_a_sentence(
    listening: Callable[..., Listener],
) -> None:
    listener = listening()
    listener.says(type="accepted")
    with pytest.raises(
        Silence, match="has accepted it, but has not reported a result within 0 s"
    ) as raised:
        list(listener.ask(messages.Reload(), limit=86400.0))
    assert not raised.value.over


def test_a_limit_of_ones_own_ends_it_with_what_it_waited_for(
    listening: Callable[..., Listener],
) -> None:
    listener = listening()
    listener.says(type="accepted")
    listener.says(type="waiting", text="the new worker.0 (pid 5) to get ready", seconds=0.0)
    with pytest.raises(
        Silence, match=r"it continues, and is waiting for the new worker\.0"
    ) as raised:
        list(listener.ask(messages.Reload(), limit=0.1))
    assert (raised.value.code, raised.value.over) == (Code.TIMED_OUT, True)
