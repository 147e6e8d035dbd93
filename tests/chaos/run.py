"""One run from the first push to the verdict."""

from __future__ import annotations

import sys
import time
from collections import ChainMap, Counter, deque
from dataclasses import dataclass, replace
from pathlib import Path

from jobctl.chaos import journal
from tests.chaos import flow_verdict, plan, ticks
from tests.chaos.flow_producer import FlowProducer
from tests.chaos.flow_verdict import FlowVerdict
from tests.chaos.history import History
from tests.chaos.plan import Kind
from tests.chaos.producers import Producer
from tests.chaos.record import Record
from tests.chaos.stage import Stage
from tests.chaos.ticks import Ticks
from tests.chaos.verdict import Verdict, judge

PRODUCERS = 2
PATIENCE = 1.0
"""Seconds to wait for jobs to be done between faults."""

SECONDS_PER_KILL = 0.42
LAST_FAULTS = 60.0
"""Seconds until faults that outlast a lease are over, and all jobs are done, on average."""

DRAIN = 240.0
"""Seconds for all jobs to end when the faults are over. It outlasts a lease and a few retries."""

SHORT_DRAIN = 100.0
"""The same where no fault outlasts a lease."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    seconds: float
    record: Record
    verdict: Verdict
    ticks: Ticks
    flows: FlowVerdict
    trouble: list[str]
    refused: int
    files: Path | None

    @property
    def kills(self) -> int:
        return sum(self.record.killed.values())

    @property
    def good(self) -> bool:
        return not (self.verdict.lost or self.verdict.wrong or self._other())

    def summary(self) -> str:
        """All of it, in lines."""
        verdict, record = self.verdict, self.record
        lines = [
            f"seed          {self.seed}, {self.seconds:.0f} s",
            f"kills         {self.kills}: {_counts(record.killed)}",
            f"faults        {_counts(record.faults)}",
            f"jobs          {verdict.jobs}: {verdict.executed} executed, {verdict.dead} dead",
            f"failed pushes {self.refused}, failed starts {record.gave_up}",
            f"executions    {verdict.executions}, of them duplicates "
            f"{sum(verdict.duplicates.values())}: {_counts(verdict.duplicates)}",
        ]
        lines.append(f"ticks         {_counts(self.ticks.counts)}")
        lines.append(f"flows         {_counts(self.flows.counts)}")
        for kind, seconds in verdict.recoveries.items():
            lines.append(f"recovery      {_quantiles(seconds)} after a {kind}")
        lines += [f"WRONG         {text}" for text in verdict.wrong[:20] + self._other()]
        lines += [f"LOST          {text}" for text in verdict.lost[:20]]
        if self.files is not None:
            lines.append(f"files         {self.files}")
        wrong = len(verdict.wrong) + len(self._other())
        lines.append(f"{self.kills} kills, {len(verdict.lost)} lost, {wrong} wrong")
        return "\n".join(lines)

    def _other(self) -> list[str]:
        """What is wrong with anything but single jobs."""
        return self.ticks.wrong[:20] + self.flows.wrong[:20] + self.trouble


class Run:
    """Plays the faults of *seed* until *kills* processes have been killed.

    Args:
        long: with faults that outlast a lease, for which a run takes minutes.
    """

    def __init__(
        self, seed: int, kills: int, masters: int, workers: int, *, long: bool = True
    ) -> None:
        self._seed = seed
        self._kills = kills
        self._size = (masters, workers)
        self._long = long

    @property
    def expected(self) -> float:
        """About how long it will take on a quiet machine of two cores (s)."""
        ordeals = plan.ordeals(self._seed, self._kills, long=self._long)
        ordeal = sum(fault.seconds + fault.pause for _, fault in ordeals)
        return self._kills * SECONDS_PER_KILL + ordeal + (LAST_FAULTS if self._long else 0)

    def play(self, *, live: bool = False, keep: bool = False) -> Outcome:
        """Returns when every job has ended, or will not."""
        began = time.monotonic()
        stage = Stage(*self._size)
        good = False
        try:
            producers = [
                Producer(number, stage.server.url, self._seed) for number in range(PRODUCERS)
            ]
            flows = FlowProducer(stage.server.url, self._seed)
            pushing: tuple[Producer | FlowProducer, ...] = (*producers, flows)
            stage.play(time.monotonic() + 1.0)
            for one in pushing:
                one.start()
            self._break(stage, live, began)
            for one in pushing:
                one.stop()
            if live:
                _show("waiting for the last faults to be over")
            stage.undo_all()
            for producer in producers:
                producer.cancel_rest()
            stage.pause_periodic()
            trouble = self._drain(stage, flows, live, began)
            ends = flow_verdict.read(flows.client, flows.batches, flows.workflows)
            trouble += stage.end()
            stage.server.stop()
            history = History(stage.server.directory)
            noted = journal.read(stage.journal)
            stepped = bool(stage.record.faults[Kind.CLOCK_FORWARD])
            outcome = Outcome(
                seed=self._seed,
                seconds=time.monotonic() - began,
                record=stage.record,
                ticks=ticks.judge(history, stepped=stepped),
                flows=flow_verdict.judge(history, noted, ends, flows),
                verdict=judge(
                    history,
                    noted,
                    stage.record,
                    [jid for producer in producers for jid in producer.stored],
                    ChainMap(
                        *(producer.fates for producer in producers),
                        flow_verdict.fates(history, ends),
                    ),
                ),
                trouble=trouble,
                refused=sum(one.refused for one in pushing),
                files=None,
            )
            good = outcome.good
            if good and not keep:
                return outcome
            return replace(outcome, files=stage.directory)
        finally:
            stage.close(keep=keep or not good)

    def _break(self, stage: Stage, live: bool, began: float) -> None:
        shown = 0.0
        ordeals = deque(plan.ordeals(self._seed, self._kills, long=self._long))
        for fault in plan.faults(self._seed, long=self._long):
            if ordeals and sum(stage.record.killed.values()) >= ordeals[0][0]:
                ordeal = ordeals.popleft()[1]
                if live:
                    _show(f"{ordeal.kind} for {ordeal.seconds:.0f} s")
                stage.undergo(ordeal)
            stage.inject(fault)
            stage.play(time.monotonic() + fault.pause)
            # Faults often come in a quick row, and else when work goes on again: on a slow machine
            # there would be nothing left to break but processes that have just begun.
            if fault.pause > plan.MEAN_PAUSE / 2:
                stage.play_until_progress(PATIENCE)
            killed = sum(stage.record.killed.values())
            if killed >= self._kills:
                return
            if live and time.monotonic() - shown > 1:
                shown = time.monotonic()
                _show(f"{shown - began:4.0f} s  {killed}/{self._kills} kills, {stage.counts()}")

    def _drain(self, stage: Stage, flows: FlowProducer, live: bool, began: float) -> list[str]:
        most = DRAIN if self._long else SHORT_DRAIN
        give_up = time.monotonic() + most
        # A batch whose producer has died is closed by a user, and goes on then.
        while (left := stage.left()) or flows.close():
            if time.monotonic() > give_up:
                return [f"not drained within {most:g} s: {left[:10]}"]
            stage.play(time.monotonic() + 1.0)
            if live:
                _show(f"{time.monotonic() - began:4.0f} s  draining, {stage.counts()}")
        # A dead owner stays listed for a few seconds after its jobs are back.
        while time.monotonic() < give_up and stage.owners_of_the_dead():
            stage.play(time.monotonic() + 0.5)
        return []


def _show(line: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="", flush=True)
    else:
        print(line, flush=True)


def _counts(counted: Counter[Kind] | Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counted.most_common())


def _quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.99))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, max {ordered[-1]:.2f} s ({len(ordered)} jobs)"
