"""Changing a job that waits, and running it: by a form from its type hints, or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Api, SortedEntry
from jobd.api.roles import Role
from jobd.errors import ArgumentError, UnknownJobError
from jobd.jobs.registry import Registry
from jobd.text.translatable import Text
from jobd.web import job_address
from jobd.web.access import session
from jobd.web.http_errors import NotFound, Refusal, said_by
from jobd.web.job_address import Place
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import jobview
from jobd.web.views.fields import Form, bind, parse_json
from jobd.web.views.render import render

MOST_BYTES = 500_000
"""Of a payload that can be edited here; as a form it becomes up to six times as long."""


T = TypeVar("T")

_LIST = Text('it must be a list: [1, "text"]')
_OBJECT = Text('it must be an object: {"name": 1}')


@dataclass(slots=True)
class Editor:
    """What the page shows.

    Attributes:
        form: the fields; None where JSON is edited.
        note: why it is JSON.
        args, kwargs, queue: what is in those fields.
        by_ruby: only Sidekiq serves its queue, so there are no keyword arguments.
        errors: what is wrong, by the name of the field.
    """

    form: Form | None
    note: str
    args: str
    kwargs: str
    queue: str
    by_ruby: bool
    errors: dict[str, str]


def page(request: Request) -> Response:
    """The form."""
    require(request, Role.ADMIN)
    query = request.query_params
    place = jobview.parse_place(query.get("set", ""), query.get("key", ""))
    entry = _entry(state_of(request).api, place)
    editor = _editor(request, entry, as_json="json" in query)
    return _show(request, place, entry, editor)


def save(request: Request) -> Response:
    """Check what was typed; put the changed job into its queue, and what it was into the trash."""
    require(request, Role.ADMIN)
    given = {key: str(value) for key, value in form_of(request).items()}
    place = jobview.parse_place(given.get("set", ""), given.get("key", ""))
    api = acting(request)
    entry = _entry(api, place)
    if entry.digest != given.get("digest"):
        raise NotFound(Text("The job has changed since the form was made; load it again."))
    editor = _editor(request, entry, as_json="args" in given)
    try:
        changes = _changes(api.app.registry, entry, editor, given)
        done = entry.replace(changes)
    except ArgumentError as error:
        editor.errors.setdefault("", said_by(error))
        return _show(request, place, entry, editor, 422)
    if not done:
        raise NotFound(Text("Nothing was done: the job is not here any more, somebody was faster."))
    state_of(request).changed()
    text = Text(
        "%(job)s is in queue %(queue)s with your changes; the original is in the trash.",
        job=entry.display_class[:100] or Text("The job"),
        queue=changes["queue"],
    )
    session.flash(request, text, undo=api.last_ref)
    return RedirectResponse(url(request, "find", jid=entry.jid), 303)


def _entry(api: Api, place: Place) -> SortedEntry:
    """
    Raises:
        NotFound: it is not there any more.
        Refusal: it cannot be edited.
    """
    if place.set not in job_address.PAGES:
        raise Refusal(
            Text("only a job that is scheduled, waits for a retry or is dead can be changed")
        )
    entry = job_address.find(api, place)
    if not isinstance(entry, SortedEntry):
        raise NotFound(Text("The job is not here any more: it has run, or somebody has moved it."))
    if not entry.item:
        raise Refusal(Text("these bytes are not a job and cannot be changed; delete them"))
    if len(entry.value) > MOST_BYTES:
        raise Refusal(
            Text("a job of more than %(most)s bytes cannot be changed here", most=f"{MOST_BYTES:,}")
        )
    return entry


def _editor(request: Request, entry: SortedEntry, *, as_json: bool) -> Editor:
    args, kwargs = _visible(entry)
    try:
        shown, named = jobview.as_json(args), jobview.as_json(kwargs) if kwargs else ""
    except ValueError as error:
        raise Refusal(
            Text("its arguments cannot be written as JSON: %(detail)s", detail=str(error))
        ) from None
    state = state_of(request)
    processes = state.processes()
    serving = [process for process in processes if entry.queue in process.queues]
    by_ruby = bool(serving) and not any(process.is_jobd for process in serving)
    editor = Editor(None, "", shown, named, entry.queue, by_ruby, {})
    if entry["encrypt"]:
        editor.note = Text("Its encrypted arguments are not shown, and stay as they are.")
    elif not as_json:
        try:
            editor.form = Form(state.api.app.registry.lookup(entry.klass), args, kwargs)
        except UnknownJobError:
            editor.note = (
                Text("Sidekiq runs it, in Ruby, so the types of its arguments are not known.")
                if by_ruby
                else Text(
                    "This process does not know the job's code, so the types of its arguments are "
                    "not known either; with jobd web -r your.module they would be."
                )
            )
        except ArgumentError as error:
            editor.note = Text("As JSON, because %(reason)s.", reason=said_by(error))
    return editor


def _visible(entry: SortedEntry) -> tuple[list[object], dict[str, object]]:
    """The arguments that may be seen and changed."""
    if entry["encrypt"]:
        return entry.args[:-1], {}
    return entry.args, entry.kwargs


def _changes(
    registry: Registry, entry: SortedEntry, editor: Editor, given: dict[str, str]
) -> dict[str, object]:
    """The fields of the payload as they were typed.

    Raises:
        ArgumentError: something is wrong with them; the editor says what and where.
    """
    editor.queue = given.get("queue", "").strip()
    args: list[object]
    kwargs: dict[str, object]
    if editor.form is not None:
        editor.form.take(given)
        args, kwargs = editor.form.values()
    else:
        editor.args, editor.kwargs = given.get("args", ""), given.get("kwargs", "")
        args = _json(editor, "args", editor.args, list, _LIST)
        kwargs = (
            _json(editor, "kwargs", editor.kwargs, dict, _OBJECT) if editor.kwargs.strip() else {}
        )
        if editor.errors:
            raise ArgumentError(Text("some fields are not valid"))
        _check_signature(registry, entry, args, kwargs)
    changes: dict[str, object] = {"class": entry.klass, "args": args, "queue": editor.queue}
    if entry["encrypt"]:
        changes["args"] = [*args, *entry.args[-1:]]
    elif kwargs or entry.kwargs:
        changes["kwargs"] = kwargs
    return changes


def _json(editor: Editor, name: str, text: str, kind: type[T], wanted: Text) -> T:
    try:
        value = parse_json(text)
        if not isinstance(value, kind):
            raise ValueError(wanted)
    except ValueError as error:
        editor.errors[name] = said_by(error)
        return kind()
    return value


def _check_signature(
    registry: Registry, entry: SortedEntry, args: list[object], kwargs: dict[str, object]
) -> None:
    """As a push by the code does, where *registry* knows it."""
    if entry["encrypt"]:
        return
    try:
        definition = registry.lookup(entry.klass)
    except UnknownJobError:
        return
    bind(definition, args, kwargs)


def _show(
    request: Request, place: Place, entry: SortedEntry, editor: Editor, status: int = 200
) -> Response:
    return render(
        request,
        "edit.html",
        status,
        here=job_address.PAGES[place.set],
        place=place,
        job=entry,
        editor=editor,
        known=editor.form is not None,
    )


routes = [
    Route("/job/edit", page, name="job_edit"),
    Route("/job/edit", save, methods=["POST"]),
]
