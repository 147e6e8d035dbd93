"""What keeps all jobs of a queue waiting: it is paused, not served, or its workers are busy."""

from __future__ import annotations

from collections.abc import Iterable

from jobd.api.features.attached import when
from jobd.api.processes import Process
from jobd.api.queues.queues import Queue
from jobd.api.reading import answers, integer
from jobd.api.session import Session
from jobd.api.shared.reason import Reason
from jobd.api.work import WorkSet
from jobd.store.keys import ASYNC
from jobd.text.printable import shortened
from jobd.text.translatable import Text

_NAMED = 5
"""Names in one sentence."""


def obstacles(session: Session, queue: str, processes: list[Process]) -> list[Reason]:
    """What keeps the jobs of a queue waiting, whichever they are."""
    serving = [process for process in processes if queue in process.queues]
    active = [process for process in serving if not process.stopping]
    reasons = []
    if Queue(queue, session).paused:
        others = taking_anyway(processes, queue)
        text = Text("Queue %(queue)s is paused: no worker takes jobs from it.", queue=queue)
        if others:
            text = Text(
                "Queue %(queue)s is paused: no worker of jobd takes jobs from it.", queue=queue
            )
        advice = Text("Resume it on the page of the queues.")
        reasons.append(Reason("paused", text, advice, blocks=not others))
        if others:
            advice = Text("To stop them as well, quiet them on the page Busy.")
            reasons.append(Reason("not_obeyed", not_obeyed(others), advice))
    if not processes:
        text = Text("No worker process runs: no heartbeat in the last minute.")
        reasons.append(Reason("no_process", text, Text("Start one: jobd start."), blocks=True))
    elif not serving:
        served = _names(name for process in processes for name in process.queues)
        text = Text(
            "No process serves queue %(queue)s; those that run serve %(served)s.",
            queue=queue,
            served=served,
        )
        advice = Text(
            "Start one with -q %(queue)s, or move the job to a queue that is served.", queue=queue
        )
        reasons.append(Reason("not_served", text, advice, blocks=True))
    elif not active:
        text = Text.counted(
            "The only process that serves queue %(queue)s is quiet or stopping.",
            "All %(count)s processes that serve queue %(queue)s are quiet or stopping.",
            len(serving),
            queue=queue,
        )
        if any(process.is_jobd for process in serving):
            advice = Text("On its host: jobctl resume; or start another one.")
        else:
            advice = Text("A quiet Sidekiq stays quiet: restart it, or start another one.")
        reasons.append(Reason("all_quiet", text, advice, blocks=True))
    else:
        reasons += _load(session, active)
        reasons += _order(session, active, queue)
    return reasons


def taking_anyway(processes: Iterable[Process], queue: str) -> list[Process]:
    """The processes that go on taking jobs from *queue* while it is paused: the free edition of
    Sidekiq does not know of it. That of Pro does, but does not tell which one it is."""
    return [
        process
        for process in processes
        if queue in process.queues and not process.is_jobd and not process.stopping
    ]


def not_obeyed(others: list[Process]) -> Text:
    """That *others* go on taking jobs."""
    return Text.counted(
        "A process of Sidekiq serves it, too, and takes jobs all the same, unless it is Sidekiq "
        "Pro: %(processes)s.",
        "%(count)s processes of Sidekiq serve it, too, and take jobs all the same, unless they are "
        "Sidekiq Pro: %(processes)s.",
        len(others),
        processes=_names(process.identity for process in others),
    )


def _load(session: Session, active: list[Process]) -> list[Reason]:
    threads = sum(process.concurrency for process in active)
    busy = sum(process.busy for process in active)
    places = sum(process.coroutines for process in active)
    if busy < threads - places:
        return []
    work = WorkSet(session).of(*(process.identity for process in active))
    if busy < threads:
        # What is free may be places of async jobs, in which no other job runs.
        tasks = {process.identity for process in active if process.coroutines}
        work = [one for one in work if not (one.process in tasks and one.thread.startswith(ASYNC))]
        if not tasks or len(work) < threads - places:
            return []
        text = Text.counted(
            "All %(threads)s threads of the %(count)s process that serves its queue are busy "
            "(async jobs still have places).",
            "All %(threads)s threads of the %(count)s processes that serve its queue are busy "
            "(async jobs still have places).",
            len(active),
            threads=threads - places,
        )
    else:
        text = Text.counted(
            "All %(threads)s threads of the %(count)s process that serves its queue are busy.",
            "All %(threads)s threads of the %(count)s processes that serve its queue are busy.",
            len(active),
            threads=threads,
        )
    longest = work[0] if work else None
    since = None
    if longest is not None:
        text = Text(
            "%(busy)s The longest-running job there, %(job)s, was started %(at)s.",
            busy=text,
            job=shortened(longest.job.display_class, 200),
            at=when(longest.run_at),
        )
        since = longest.run_at
    if any(process.is_jobd for process in active):
        advice = Text("Wait, or give it more threads: jobctl scale, or another host.")
    else:
        advice = Text("Wait, or give it more threads: Sidekiq's concurrency (-c), or another host.")
    return [Reason("busy", text, advice, since)]


def _order(session: Session, active: list[Process], queue: str) -> list[Reason]:
    """Where the order is strict: queues that go first, in every process, and have jobs."""
    earlier: list[tuple[Process, list[str]]] = []
    for process in active:
        names = list(process.queues)
        mine = names[: names.index(queue)]
        if not mine or any(process.weights[name] for name in names):
            return []
        earlier.append((process, mine))
    names = sorted({name for _, mine in earlier for name in mine})
    with session.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(session.keys.queue(name))
            pipe.sismember(session.keys.paused, name)
        found = list(map(integer, answers(pipe)))
    sizes = dict(zip(names, found[::2], strict=True))
    paused = {name for name, is_so in zip(names, found[1::2], strict=True) if is_so}
    full: set[str] = set()
    for process, mine in earlier:
        # Of the Sidekiqs, only Pro leaves out what is paused, and does not say that it is Pro.
        skipped = paused if process.is_jobd else set()
        first = [name for name in mine if sizes[name] and name not in skipped]
        if not first:
            return []
        full.update(first)
    text = Text.counted(
        "The processes take jobs in a strict order, and %(count)s job of another queue comes "
        "before it: %(queues)s.",
        "The processes take jobs in a strict order, and %(count)s jobs of other queues come "
        "before it: %(queues)s.",
        sum(sizes[name] for name in full),
        queues=_names(full),
    )
    return [Reason("order", text, Text("Wait, or give the queues weights (-q name,weight)."))]


def _names(names: Iterable[str]) -> str:
    found = sorted(dict.fromkeys(shortened(name, 100) for name in names))
    more = len(found) - _NAMED
    named = ", ".join(found[:_NAMED])
    if more <= 0:
        return named
    return Text.counted(
        "%(names)s and %(count)s more", "%(names)s and %(count)s more", more, names=named
    )
