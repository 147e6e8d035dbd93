"""The data API: everything in Redis to look at and to act on, for dashboards, scripts and people.

The names follow Sidekiq's, and jobs that Ruby pushed are read as well as our own. Begin with
:class:`Api`, or with one of the parts, which use the client that :func:`jobd.configure` has set up
unless they are given an ``Api``:

    >>> from jobd.api import Api, Queue, RetrySet
    >>> Api("redis://127.0.0.1:6379/0").retries, Queue("default"), RetrySet()
    (RetrySet(), Queue('default'), RetrySet())

What is read is bounded: a page has at most 1,000 entries, and what must go through everything takes
steps, whose size is bounded and whose number the caller decides (:class:`Scan`, :class:`Sweep`).
What changes something is one script a step; its condition is the exact bytes of the job, so that
nothing is lost or doubled whoever acts at the same time, or crashes.

Everything may raise :class:`jobd.UnavailableError` when the server does not answer. Nothing that
another program has written to Redis makes reading it fail.
"""

from jobd.api.audit import Audit, AuditEntry
from jobd.api.deploys import Deploys, Mark
from jobd.api.entry import Api
from jobd.api.features.absent import why_absent
from jobd.api.features.lineage import Family, FamilySearch, Relative, family_of
from jobd.api.features.periodic import Lead, PeriodicJob, PeriodicJobs
from jobd.api.features.periodic_reasons import why_not_due
from jobd.api.features.results import JobResult
from jobd.api.features.workflows import Workflows
from jobd.api.find import Found, JobSearch
from jobd.api.inflight import Claim, InFlightSet
from jobd.api.info import RedisInfo
from jobd.api.iterations import IterableState, iterable_states
from jobd.api.metrics import Histogram, JobMetrics, Metrics, Point
from jobd.api.processes import Process, ProcessSet
from jobd.api.queues.finding import QueuedKey
from jobd.api.queues.queues import Queue, QueueSummary
from jobd.api.queues.scan import QueueScan, QueueSweep
from jobd.api.queues.slo import Slo
from jobd.api.reading import Page
from jobd.api.reasons import why_in_flight, why_queued, why_waiting
from jobd.api.records import JobRecord
from jobd.api.search.groups import FailureGroup, FailureGroups, group_key, in_group
from jobd.api.search.scans import Scan, Sweep
from jobd.api.session import Session
from jobd.api.sets.entries import SortedEntry
from jobd.api.sets.jobset import JobSet
from jobd.api.sets.scan import SetScan, SetSweep
from jobd.api.sets.sets import DeadSet, RetrySet, ScheduledSet
from jobd.api.shared.reason import Reason
from jobd.api.stacks import Stacks
from jobd.api.stats import Counters, Day, Stats
from jobd.api.trash import Deletion, Trash
from jobd.api.troubles import Trouble
from jobd.api.work import Work, WorkSet
from jobd.wire.progress import Progress

__all__ = [
    "Api",
    "Audit",
    "AuditEntry",
    "Claim",
    "Counters",
    "Day",
    "DeadSet",
    "Deletion",
    "Deploys",
    "FailureGroup",
    "FailureGroups",
    "Family",
    "FamilySearch",
    "Found",
    "Histogram",
    "InFlightSet",
    "IterableState",
    "JobMetrics",
    "JobRecord",
    "JobResult",
    "JobSearch",
    "JobSet",
    "Lead",
    "Mark",
    "Metrics",
    "Page",
    "PeriodicJob",
    "PeriodicJobs",
    "Point",
    "Process",
    "ProcessSet",
    "Progress",
    "Queue",
    "QueueScan",
    "QueueSummary",
    "QueueSweep",
    "QueuedKey",
    "Reason",
    "RedisInfo",
    "Relative",
    "RetrySet",
    "Scan",
    "ScheduledSet",
    "Session",
    "SetScan",
    "SetSweep",
    "Slo",
    "SortedEntry",
    "Stacks",
    "Stats",
    "Sweep",
    "Trash",
    "Trouble",
    "Work",
    "WorkSet",
    "Workflows",
    "family_of",
    "group_key",
    "in_group",
    "iterable_states",
    "why_absent",
    "why_in_flight",
    "why_not_due",
    "why_queued",
    "why_waiting",
]
