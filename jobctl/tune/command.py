"""``jobctl tune``."""

from __future__ import annotations

import sys

import click
import msgspec

from jobctl import options
from jobctl.codes import Code, Problem
from jobctl.daemon.commands import Command, Finder
from jobctl.daemon.pidfile import Elsewhere
from jobctl.data import output
from jobctl.data.output import Column
from jobctl.tune.measure import Measurement, measure
from jobctl.tune.model import FULL, LONG, Advice, advise
from jobd.master.control import messages
from jobd.master.control.messages import PartialStatus
from jobd.text.printable import harmless


class _Command(Command):
    shared = (*options.OF_DAEMON, "json")


@click.command(cls=_Command)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=3600),
    default=10.0,
    metavar="N",
    help="Measure for N seconds.  [default: 10]",
)
@click.pass_context
def tune(context: click.Context, seconds: float) -> int:
    """Measure whether the jobs of the daemon on this host compute or wait, and calculate what other
    numbers of workers and threads would do.

    Measure while jobs wait in the queues; otherwise it is the pushes that are measured. Nothing in
    the daemon changes meanwhile.
    """
    find: Finder = context.obj
    daemon = find()
    if isinstance(daemon.process, Elsewhere):
        raise Problem(
            Code.FAILED, "the daemon runs in another process namespace; measure it from there"
        )

    def status() -> PartialStatus:
        try:
            return msgspec.convert(harmless(daemon.result(messages.Status()).status), PartialStatus)
        except (msgspec.MsgspecError, ArithmeticError, LookupError, ValueError):
            raise Problem(Code.FAILED, "tune: the answer is malformed") from None

    if sys.stderr.isatty():
        click.echo(f"measuring for {seconds:g} s", err=True)
    found = measure(status, seconds)
    if not found.workers:
        raise Problem(
            Code.FAILED,
            "no worker lived throughout, or this user may not look at them: is the daemon running? "
            "(jobctl status)",
        )
    advice = advise(found)
    if options.wants_json(context):
        output.record(advice)
    else:
        _show(found, advice)
    return Code.DONE


def _show(found: Measurement, advice: Advice) -> None:
    workers = len(found.workers)
    output.line(advice.text)
    output.line("")
    output.facts(_facts(found, advice))
    if not advice.options:
        return
    output.line("")
    columns = [
        Column("WORKERS", right=True),
        Column("THREADS", right=True),
        Column("JOBS/S AT MOST", right=True),
        Column("LIMIT", gives=True),
        Column("BECAUSE", gives=True),
    ]
    rows = [
        (
            str(each.workers),
            str(each.threads),
            f"{each.rate:,.1f}",
            each.limit,
            _because(found, advice, each.workers, each.threads, each.limit, each.rate),
        )
        for each in advice.options
    ]
    output.table(columns, rows)
    output.line(f"the first line is what runs now: {workers} × {found.threads}", dim=True)


def _facts(found: Measurement, advice: Advice) -> list[tuple[str, str]]:
    seconds, workers = found.seconds, len(found.workers)
    cpu = sum(one.cpu for one in found.workers)
    busy = sum(one.busy for one in found.workers)
    jobs = sum(one.jobs for one in found.workers)
    facts = [
        ("measured", f"{workers} × {found.threads} threads, {found.cores} CPUs, {seconds:.1f} s"),
        ("jobs", f"{jobs:,} / {seconds:.1f} s = {advice.rate:,.1f} a second"),
        (
            "threads busy",
            f"{busy:.1f} s / ({workers} × {found.threads} × {seconds:.1f} s) = "
            f"{advice.utilization:.0%}",
        ),
    ]
    if advice.share is not None:
        facts.append(("CPU", f"{cpu:.2f} s of CPU in {busy:.1f} s of jobs = {cpu / busy:.0%}"))
    used = " (used up)" if advice.worker_cpu >= FULL else ""
    facts += [
        ("a worker", f"{cpu:.2f} s / {workers} / {seconds:.1f} s = {advice.worker_cpu:.0%}{used}"),
        ("the host", f"{cpu:.2f} s / {seconds:.1f} s / {found.cores} = {advice.host_cpu:.0%}"),
    ]
    if advice.gil_wait is not None:
        count = sum(len(one.gil_waits) for one in found.workers)
        much = "; over 5 ms: threads are in each other's way" if advice.gil_wait > LONG else ""
        facts.append(
            ("GIL wait", f"{advice.gil_wait * 1000:.1f} ms (median of {count} waits{much})")
        )
    if advice.share is not None:
        facts.append(("CPU wait", f"{advice.cpu_wait:.0%} of the time of jobs"))
    if advice.cpu_per_job is not None and advice.time_per_job is not None:
        facts.append(
            (
                "a job",
                f"{busy:.1f} s / {jobs:,} = {advice.time_per_job * 1000:.2f} ms, of them "
                f"{advice.cpu_per_job * 1000:.2f} ms of CPU",
            )
        )
        facts.append(("alone", _alone(found, advice, busy, jobs)))
    return facts


def _alone(found: Measurement, advice: Advice, busy: float, jobs: int) -> str:
    """How long a job would take that waits for no other."""
    alone = (advice.time_alone or 0.0) * 1000
    measured = (advice.time_per_job or 0.0) * 1000
    of_them = f", of which {advice.share or 0:.0%} is computing"
    if not advice.gil_used_up:
        waited = measured * advice.cpu_wait
        return f"{measured:.2f} ms - {waited:.2f} ms for a CPU = {alone:.2f} ms{of_them}"
    seconds = found.seconds * len(found.workers)
    held, threads = seconds / jobs * 1000, max(1.0, busy / seconds)
    return (
        f"{measured:.2f} ms - ({threads:.1f} - 1) × {held:.2f} ms for the GIL = {alone:.2f} "
        f"ms{of_them}"
    )


def _because(
    found: Measurement, advice: Advice, workers: int, threads: int, limit: str, rate: float
) -> str:
    if limit == "threads":
        alone = workers * threads / rate
        return f"{workers} × {threads} / {alone * 1000:.2f} ms"
    per_cpu = advice.cpu_per_job or 0.0
    many = found.cores if limit == "CPUs" else workers
    return f"{many} / {per_cpu * 1000:.2f} ms of CPU"
