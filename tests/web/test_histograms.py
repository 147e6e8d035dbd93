"""Histograms over hours: the same as read at once, and only the last minutes are read again."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis as redis_py
import time_machine

from jobd.api import Api
from jobd.web.pages import metrics as page
from jobd.web.shared import histograms as module
from jobd.web.shared.histograms import Histograms
from tests.web.test_classes import ran

NOW = time.time() // 60 * 60 + 30


def commands(redis: redis_py.Redis) -> int:
    found: Any = redis.info("commandstats")
    return int(found.get("cmdstat_bitfield_ro", {"calls": 0})["calls"])


def test_only_the_last_minutes_are_read_again(redis: redis_py.Redis) -> None:
    api, histograms = Api(redis), Histograms()
    asked = []
    for minutes_ago in (7, 5, 4, 2, 1, 0):
        with time_machine.travel(NOW - 60 * minutes_ago, tick=False):
            ran(redis, "shop.mail", 0.1, 2.0)
            before = commands(redis)
            found = histograms.look(api.metrics, "shop.mail", 60)
            asked.append(commands(redis) - before)
            assert found == api.metrics.histogram("shop.mail", minutes=60)
    assert asked[0] == 60
    assert max(asked[1:]) <= 2 + module.SETTLED + 1
    assert sum(found.counts) == 12


@pytest.mark.parametrize("order", [(60, 480), (480, 60)])
def test_periods_share_what_is_known(redis: redis_py.Redis, order: tuple[int, int]) -> None:
    api, histograms = Api(redis), Histograms()
    for minutes_ago in (400, 300, 70, 10, 1):
        with time_machine.travel(NOW - 60 * minutes_ago, tick=False):
            ran(redis, "shop.mail", 0.1)
    with time_machine.travel(NOW, tick=False):
        for minutes in order:
            found = histograms.look(api.metrics, "shop.mail", minutes)
            assert found == api.metrics.histogram("shop.mail", minutes=minutes)


def test_after_a_pause_there_is_no_gap(redis: redis_py.Redis) -> None:
    api, histograms = Api(redis), Histograms()
    for minutes_ago, minutes in ((300, 480), (100, 60), (0, 480)):
        with time_machine.travel(NOW - 60 * minutes_ago, tick=False):
            ran(redis, "shop.mail", 0.1)
            found = histograms.look(api.metrics, "shop.mail", minutes)
            assert found == api.metrics.histogram("shop.mail", minutes=minutes)


def test_made_up_classes_fill_nothing(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    histograms = Histograms()
    for number in range(9):
        histograms.look(Api(redis).metrics, f"made.up{number}", 2)
    assert list(histograms._known) == ["made.up6", "made.up7", "made.up8"]


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([10], 0.5, 0.01),
        ([0, 0, 10], 0.5, 0.0375),
        ([5, 0, 5], 0.95, 0.0435),
        ([0] * 25 + [3], 0.5, 335.0),
        ([], 0.5, None),
    ],
)
def test_percentiles_are_estimated_within_their_buckets(
    counts: list[int], share: float, seconds: float | None
) -> None:
    found = page._estimate(counts + [0] * (26 - len(counts)), share)
    assert found == (None if seconds is None else pytest.approx(seconds))
