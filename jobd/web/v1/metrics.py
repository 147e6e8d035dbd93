"""What the API tells of the classes of jobs, and the marks of deploys beside it."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobd.api import Histogram, JobMetrics, shapes
from jobd.api.deploys import MOST_DAYS
from jobd.api.metrics import MOST_HOURS, MOST_MINUTES
from jobd.api.roles import Role
from jobd.web.v1.operations import Body, Call, Query, Table

MOST = 1000
"""Classes that are told."""

FRESH = 10.0
"""Seconds for which all callers share one look."""

OPERATIONS = Table()


Percentile = float | Literal["+Inf"] | None


class Class(Struct, frozen=True):
    """Executions of a class, those that failed, and what the others took in all."""

    name: str
    processed: shapes.Count
    failed: shapes.Count
    ms: shapes.Count


class Classes(Struct, frozen=True):
    """The classes that took most time first; ``size`` counts those that are not told, too."""

    classes: list[Class]
    size: shapes.Count


class Minute(Struct, frozen=True):
    """One minute of a class."""

    at: float
    processed: shapes.Count
    failed: shapes.Count
    ms: shapes.Count


class Bucket(Struct, frozen=True):
    """Executions that took less than ``below`` seconds and not less than the bucket before says;
    null for no bound."""

    below: float | None
    count: shapes.Count


class ClassDetail(Class, frozen=True):
    """One class, by minute. Of the executions that succeeded the percentiles, in seconds: each is
    the upper bound of its bucket, ``+Inf`` that of the last bucket, which has none; null where none
    has succeeded."""

    p50: Percentile
    p95: Percentile
    p99: Percentile
    minutes: list[Minute]
    histogram: list[Bucket]


class Deploy(Struct, frozen=True):
    """A deploy."""

    at: float
    label: str


class Deploys(Struct, frozen=True):
    """The deploys of some UTC days."""

    deploys: list[Deploy]


class Period(Query, frozen=True):
    hours: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_HOURS,
            description="How many; whole minutes up to 4, whole ten minutes beyond.",
        ),
    ] = 1
    match: Annotated[
        str, Meta(max_length=1000, description="Only classes whose names contain this.")
    ] = ""


class OfClass(Query, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=1000, description="Name of the class.")]
    minutes: Annotated[int, Meta(ge=1, le=MOST_MINUTES, description="How many.")] = 60


class DeployDays(Query, frozen=True):
    days: Annotated[int, Meta(ge=1, le=MOST_DAYS, description="How many, today included.")] = 1


class NewDeploy(Body, frozen=True):
    label: Annotated[
        str,
        Meta(min_length=1, max_length=1000, description="Such as hash and subject of a commit."),
    ]


@OPERATIONS.add("GET", "/classes", "What each class did; who took most time first.")
def classes(call: Call, query: Period) -> Classes:
    found = call.state.classes(query.hours)
    wanted = [one for one in found if query.match.lower() in one.name.lower()]
    told = [Class(one.name, one.processed, one.failed, one.ms) for one in wanted[:MOST]]
    return Classes(told, len(wanted))


@OPERATIONS.add("GET", "/class", "What one class did by minute, and how long it took.")
def one_class(call: Call, query: OfClass) -> ClassDetail:
    name, minutes, api = query.name, query.minutes, call.api

    def look() -> tuple[JobMetrics, Histogram]:
        metrics = api.metrics.for_job(name, minutes=minutes)
        return metrics, api.metrics.histogram(name, minutes=minutes)

    found = call.state.snapshots.get(("api class", name, minutes), FRESH, look)
    return class_detail(*found)


@OPERATIONS.add("GET", "/deploys", "The deploys that were marked, the first one first.")
def deploys(call: Call, query: DeployDays) -> Deploys:
    marks = call.api.deploys.fetch(query.days)
    return Deploys([Deploy(mark.at.timestamp(), mark.label) for mark in marks])


@OPERATIONS.add(
    "POST",
    "/deploys",
    "Mark a deploy, now: one mark a minute, the first one stays (else `changed` is 0).",
    Role.OPERATOR,
)
def mark_deploy(call: Call, body: NewDeploy) -> shapes.Changed:
    return shapes.Changed(int(call.api.deploys.mark(body.label)))


def class_detail(metrics: JobMetrics, histogram: Histogram) -> ClassDetail:
    bounds = (*histogram.bounds, None)
    return ClassDetail(
        name=metrics.name,
        processed=metrics.processed,
        failed=metrics.failed,
        ms=metrics.ms,
        p50=_percentile(histogram, 0.5),
        p95=_percentile(histogram, 0.95),
        p99=_percentile(histogram, 0.99),
        minutes=[Minute(each.at, each.processed, each.failed, each.ms) for each in metrics.series],
        histogram=[Bucket(*each) for each in zip(bounds, histogram.counts, strict=True)],
    )


def _percentile(histogram: Histogram, share: float) -> Percentile:
    found = histogram.percentile(share)
    return "+Inf" if found is not None and math.isinf(found) else found
