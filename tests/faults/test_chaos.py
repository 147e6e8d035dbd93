"""A short chaos run; ``make chaos`` makes long ones."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest

from jobctl.chaos.journal import Execution
from tests.chaos import plan
from tests.chaos.history import History, token_of
from tests.chaos.plan import Kind
from tests.chaos.pushes import Fate, pushes, token
from tests.chaos.record import Injury, Record
from tests.chaos.run import Run
from tests.chaos.ticks import ALWAYS, PERIODIC
from tests.chaos.ticks import judge as judge_ticks
from tests.chaos.verdict import judge

SEED = 20261123


def test_the_same_seed_gives_the_same_faults() -> None:
    one, same, other = (list(islice(plan.faults(seed), 5000)) for seed in (SEED, SEED, SEED + 1))
    assert one == same != other
    ordeals, as_before, others = (plan.ordeals(seed, 1000) for seed in (SEED, SEED, SEED + 1))
    assert ordeals == as_before != others
    happened = {fault.kind for fault in one} | {ordeal.kind for _, ordeal in ordeals}
    assert happened == set(Kind)


def test_ordeals_fit_into_the_run() -> None:
    for kills in (30, 1000, 3000):
        after = [killed for killed, _ in plan.ordeals(SEED, kills)]
        assert after == sorted(after)
        assert 0 < after[0] <= after[-1] < kills
    outages = [o.seconds for _, o in plan.ordeals(SEED, 1000) if o.kind is Kind.OUTAGE]
    assert sum(seconds > 60 for seconds in outages) == 1
    short = plan.ordeals(SEED, 30, long=False)
    assert sum(ordeal.seconds + ordeal.pause for _, ordeal in short) < 5


def test_the_same_seed_gives_the_same_jobs() -> None:
    one, same, other, second = (
        list(islice(pushes(seed, producer), 2000))
        for seed, producer in ((SEED, 0), (SEED, 0), (SEED + 1, 0), (SEED, 1))
    )
    assert one == same
    assert one != other
    assert {push.token for push in one} & {push.token for push in second} == {""}
    for push in one:
        assert push.item is not None or token_of(push.raw) == push.token
    application = (Path(plan.__file__).parent / "app.py").read_text()
    jobs = set(re.findall(r'@job\(name="(\w+)"', application))
    assert {push.item["class"] for push in one if push.item} == jobs - {*PERIODIC}, "each is pushed"
    # CANCELLED is that of a patient job once it has been cancelled.
    assert {push.fate for push in one} == set(Fate) - {Fate.CANCELLED}


def lived(directory: Path, *commands: tuple[str, ...]) -> History:
    """What the server's file tells after these commands."""
    (directory / "appendonlydir").mkdir()
    words = [[word.encode() for word in command] for command in commands]
    (directory / "appendonlydir" / "x.1.incr.aof").write_bytes(
        b"".join(
            b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in command)
            for command in words
        )
    )
    return History(directory)


TOKEN = token(0, 1)
CLAIMED = ("HSET", "jobd:inflight:host:11:x", "1:low", TOKEN)
ENDED = ("HDEL", "jobd:inflight:host:11:x", "1:low")
BURIED = ("ZADD", "dead", "1", TOKEN)


@pytest.mark.parametrize(
    ("commands", "outcomes", "fate", "good"),
    [
        ((CLAIMED, ENDED), ["done"], Fate.DONE, True),
        ((CLAIMED, ENDED), ["failed"], Fate.DONE, False),
        ((CLAIMED, ENDED), [], Fate.DONE, False),
        ((CLAIMED,), ["done"], Fate.DONE, False),
        ((CLAIMED, ENDED, BURIED), ["done"], Fate.DONE, False),
        ((CLAIMED, ENDED), ["wronged"], Fate.DONE, False),
        ((CLAIMED, ENDED), ["failed"], Fate.DISCARDED, True),
        ((BURIED,), [], Fate.UNREAD, True),
        ((CLAIMED, ENDED), ["done"], Fate.EITHER, True),
    ],
)
def test_each_job_must_end_as_it_should(
    tmp_path: Path, commands: list[tuple[str, ...]], outcomes: list[str], fate: Fate, good: bool
) -> None:
    journal = {TOKEN: [Execution(TOKEN, 11, 1.0, 2.0, outcome) for outcome in outcomes]}
    verdict = judge(lived(tmp_path, *commands), journal, Record(), [TOKEN], {TOKEN: fate})
    assert (not verdict.lost and not verdict.wrong) == good


def tick(at: int, what: str = "fired", *, then: int = 0, number: int = 0) -> list[tuple[str, ...]]:
    """What the server's file has of a tick."""
    jid = token(9, number or at)
    told = {"what": what, "at": at, "tick": at, "then": then or at + 2, "jid": jid}
    job = json.dumps({"class": "tick", "jid": jid, "jobd": {"v": 1, "tick": at}})
    pushed = [("LPUSH", "queue:high", job.replace(": ", ":"))] if what == "fired" else []
    return [*pushed, ("LPUSH", f"{ALWAYS.decode()}:ticks", json.dumps(told))]


PAUSED = ("ZADD", "jobd:periodic", "+inf", ALWAYS.decode().removeprefix("jobd:periodic:"))


@pytest.mark.parametrize(
    ("commands", "good"),
    [
        ([*tick(2), *tick(4), *tick(6)], True),
        ([*tick(2), *tick(6)], False),  # a gap
        ([*tick(2), PAUSED, *tick(6)], True),
        ([*tick(2), *tick(2)], False),
        ([*tick(2), tick(4)[1]], False),  # recorded and not pushed
        ([*tick(2), tick(4)[0]], False),  # pushed and not recorded
        ([*tick(2), *tick(4, "missed", then=8), *tick(8)], False),
        ([*tick(2), *tick(4, number=2)], False),
    ],
)
def test_each_tick_is_decided_once(
    tmp_path: Path, commands: list[tuple[str, ...]], good: bool
) -> None:
    found = judge_ticks(lived(tmp_path, *commands), stepped=False)
    assert (not found.wrong) == good


@pytest.mark.parametrize(
    ("kind", "seconds", "good"),
    [
        (None, 0.0, False),
        (Kind.NETWORK_CUT, 20.0, False),
        (Kind.LONG_NETWORK_CUT, 70.0, True),
        (Kind.DAEMON_STOP, 70.0, True),
        (Kind.WORKER_KILL, 0.0, True),
    ],
)
def test_a_second_execution_needs_a_reason(
    tmp_path: Path, kind: Kind | None, seconds: float, good: bool
) -> None:
    record = Record()
    if kind is not None:
        record.injuries[11] = [Injury(kind, 1.5, 1.5 + seconds)]
    journal = {TOKEN: [Execution(TOKEN, 11, 1.0), Execution(TOKEN, 12, 71.0, 72.0, "done")]}
    history = lived(
        tmp_path,
        ("MULTI",),
        CLAIMED,
        ENDED,
        ("HSET", "jobd:inflight:host:12:y", "1:low", TOKEN),
        ("EXEC",),
        ("HDEL", "jobd:inflight:host:12:y", "1:low"),
    )
    verdict = judge(history, journal, record, [TOKEN])
    assert (not verdict.wrong) == good
    assert sum(verdict.duplicates.values()) == good


@pytest.mark.timeout(180)
def test_nothing_is_lost_in_chaos() -> None:
    outcome = Run(SEED, 30, masters=2, workers=2, long=False).play()
    assert outcome.good, outcome.summary()
    assert outcome.kills >= 30
    assert outcome.verdict.jobs > 100
    assert outcome.record.faults[Kind.OUTAGE] == 1
    assert outcome.ticks.counts["fired"] + outcome.ticks.counts["late"] > 0
    flows = outcome.flows.counts
    assert flows["batch succeeded"] + flows["nested batch succeeded"] > 0
    assert min(flows["callbacks"], flows["workflow done"], flows["workflow failed"]) > 0
