"""The jobs of one queue: page by page, searched, deleted, moved to another queue."""

from __future__ import annotations

from functools import partial

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import JobRecord
from jobd.api.actions import NOTHING, QUEUE_ACTIONS, QUEUED_ACTIONS, Given
from jobd.api.queues.obstacles import not_obeyed, taking_anyway
from jobd.api.shared.figures import SHARED
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.job_address import job_url, queued_keys
from jobd.web.pages.queues import rates
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.shared.queue_rates import Rates
from jobd.web.views import lists, rows
from jobd.web.views.confirm import STEP, Question, ask, go_on, is_permanent, ref_of
from jobd.web.views.lists import Part, number_of
from jobd.web.views.present import clip, number
from jobd.web.views.render import render
from jobd.web.views.search import FIELDS, parse


def queue(request: Request) -> Response:
    """The page."""
    state, part = state_of(request), Part.of(request.query_params)
    name = request.query_params.get("name", "")
    if not name:
        raise NotFound(Text("The address names no queue."))
    known = state.queues()
    jobs = state.api.queue(name)
    summary = next((one for one in known if one.name == name), None) or state.snapshots.get(
        ("unknown queue", name),
        SHARED,
        jobs.summary,
    )
    others = taking_anyway(state.processes(), name) if summary.paused else []
    page = finds = None
    if part.searching:
        search = parse(part.q)
        scan = jobs.scan(where=search.where, pattern=search.match, cursor=part.cursor)
        # Its places are counted from the job that runs next.
        finds = lists.search(scan, part, jobs.size, rows.of_queued)
    else:
        page = lists.remembered(
            request,
            ("queue", name, part.start, part.count, part.other),
            lambda: rows.page_of_queue(jobs, part.start, part.count, newest_first=part.other),
        )
    return render(
        request,
        "queue.html",
        here="queues",
        name=name,
        summary=summary,
        not_obeyed=not_obeyed(others) if others else None,
        rates=rates(state).get(name, Rates()),
        served=state.served(),
        others=[one.name for one in known if one.name != name][:200],
        page=page,
        finds=finds,
        part=part,
        search_page="queue",
        search_fields=[field for field in FIELDS if field != "queue"],
        job_url=partial(job_url, request),
        tag_url=partial(lists.tag_url, request, f"queue:{name}"),
    )


def act(request: Request) -> Response:
    """Delete or move the chosen jobs."""
    form = form_of(request)
    # The button of one job says by its address what is to be done.
    wanted = str(form.get("action") or request.query_params.get("action", ""))
    name, action = str(form.get("name", "")), QUEUED_ACTIONS.get(wanted)
    if action is None or not name:
        raise Refusal(
            Text("unknown action %(action)s for the jobs of a queue", action=repr(wanted[:100]))
        )
    require(request, action.role)
    keys = lists.chosen_keys(form)
    if not keys:
        return _done(request, form, Text("No jobs were selected."))
    api = acting(request, permanent=is_permanent(form))
    jobs = api.queue(name).find_all(queued_keys(keys))
    if action.name == "move":
        return _move(request, form, jobs, len(keys))
    if not form.get("sure"):
        return _ask(request, form, keys, jobs)
    deleted = action.do(api.queue(name), jobs, NOTHING)
    text = _with_gone(action.done(deleted, clip(name)), len(keys) - deleted)
    return _done(request, form, text, undo=api.last_ref if deleted and api.keeps_deleted else "")


def _move(request: Request, form: FormData, jobs: list[JobRecord], chosen: int) -> Response:
    name, target = str(form.get("name", "")), str(form.get("target", "")).strip()
    move = QUEUED_ACTIONS["move"]
    moved = move.do(acting(request).queue(name), jobs, Given(queue=target))
    text = move.done(moved, clip(target))
    return _done(request, form, _with_gone(text, chosen - moved))


def move_all(request: Request) -> Response:
    """Move all jobs to another queue; one step."""
    form, action = form_of(request), QUEUE_ACTIONS["move"]
    require(request, action.role)
    name, target = str(form.get("name", "")), str(form.get("target", "")).strip()
    if not name:
        raise Refusal(Text("which queue? The form does not say it."))
    api = acting(request)
    jobs = api.queue(name)
    jobs.check_target(target)
    size, moved = number_of(form.get("size")) or jobs.size, number_of(form.get("changed"))
    if not form.get("sure"):
        question = Question(
            heading=Text.counted(
                "Move %(count)s job of queue %(queue)s to queue %(target)s?",
                "Move all %(count)s jobs of queue %(queue)s to queue %(target)s?",
                size,
                queue=clip(name, 60),
                target=clip(target, 60),
            ),
            text=_unserved(request, target, action.effect),
            action=url(request, "queue_move_all"),
            fields=[("name", name), ("target", target), ("size", size), *_kept(form)],
            button=Text.counted("Move %(count)s job", "Move %(count)s jobs", size),
            back=_back(request, form),
            danger=False,
        )
        return ask(request, question, here="queues")
    ref = ref_of(form)
    step = jobs.move_all(target, most=max(0, size - moved), seconds=STEP, ref=ref)
    moved += step
    if step and moved < size and jobs.size:
        state_of(request).changed()
        kept = [("name", name), ("target", target), ("sure", "1"), ("ref", api.last_ref)]
        return go_on(
            request,
            Text("Moving jobs to queue %(queue)s", queue=clip(target, 60)),
            action=url(request, "queue_move_all"),
            fields=[*kept, ("changed", moved), ("size", size), *_kept(form)],
            scanned=moved,
            size=size,
            changed=moved,
            back=_back(request, form),
            here="queues",
        )
    return _done(request, form, action.done(moved, clip(target)))


def _unserved(request: Request, target: str, text: Text) -> Text:
    """*text*, and a warning where no process would run what is moved."""
    served = state_of(request).served()
    if served is None or target in served:
        return text
    return Text("%(text)s No process takes jobs from that queue.", text=text)


def _ask(request: Request, form: FormData, keys: list[str], jobs: list[JobRecord]) -> Response:
    name = str(form.get("name", ""))
    kept = [("action", "delete"), ("name", name), *(("key", key) for key in keys)]
    question = Question(
        heading=Text.counted(
            "Delete %(count)s job of queue %(queue)s?",
            "Delete %(count)s jobs of queue %(queue)s?",
            len(jobs),
            queue=clip(name, 60),
        ),
        text=_with_gone(QUEUED_ACTIONS["delete"].effect, len(keys) - len(jobs)),
        action=url(request, "queue_act"),
        fields=[*kept, *_kept(form)],
        button=Text.counted("Delete %(count)s job", "Delete %(count)s jobs", len(jobs)),
        back=_back(request, form),
        restorable=True,
        deletes=True,
        rows=tuple(rows.of_queued(job) for job in jobs[:5]),
    )
    return ask(request, question, here="queues")


def _with_gone(text: Text, gone: int) -> Text:
    """*text*, and how many of the chosen jobs were not there any more."""
    if gone <= 0:
        return text
    return Text("%(text)s No longer there: %(gone)s.", text=text, gone=number(gone))


def _kept(form: FormData) -> list[tuple[str, str]]:
    part = Part.of(form).query()
    return [(key, str(value)) for key, value in part.items() if value]


def _done(request: Request, form: FormData, text: Text, *, undo: str = "") -> Response:
    state_of(request).changed()
    session.flash(request, text, undo=undo)
    return RedirectResponse(_back(request, form), 303)


def _back(request: Request, form: FormData) -> str:
    return url(request, "queue", name=str(form.get("name", "")), **Part.of(form).query())


routes = [
    Route("/queue", queue, name="queue"),
    Route("/queue/act", act, methods=["POST"], name="queue_act"),
    Route("/queue/move-all", move_all, methods=["POST"], name="queue_move_all"),
]
