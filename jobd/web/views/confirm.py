"""Two pages that an action may pass through: one that asks, and one that goes on with a long one.

Both are plain forms, which repeat what was sent; so they work without JavaScript, and nothing of an
action is remembered between two requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from jobd.text.translatable import Text
from jobd.web.request import state_of
from jobd.web.views.render import render
from jobd.web.views.rows import Row

_REF = re.compile(r"[0-9a-f]{1,16}-[0-9a-f]{8}")

STEP = 0.8
"""Seconds for which one request of a long action works."""

Fields = Iterable[tuple[str, str | int]]


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody is asked before something is done.

    Attributes:
        heading: the question.
        text: what will happen, in a sentence or two.
        action: the address that the form is sent to, with *fields* and ``sure``.
        button: the text of the button that does it.
        back: the address of the page that it was asked from.
        danger: whether it takes something away.
        restorable: whether the trash keeps it.
        deletes: whether jobs are deleted, which can be for good.
        asks_when: whether the form asks for a time.
        rows: some of the jobs.
    """

    heading: Text
    text: Text
    action: str
    fields: Fields
    button: Text
    back: str
    danger: bool = True
    restorable: bool = False
    deletes: bool = False
    asks_when: bool = False
    rows: tuple[Row, ...] = ()


def ask(request: Request, question: Question, *, here: str = "", wrong: str = "") -> Response:
    """The page that asks.

    Args:
        here: the tab that it belongs to.
        wrong: what was wrong with the answer.
    """
    status = 422 if wrong else 200
    short = state_of(request).info().memory_short if question.deletes else None
    return render(
        request, "confirm.html", status, question=question, here=here, wrong=wrong, short=short
    )


def ref_of(form: FormData) -> str | None:
    """The id of the action that the form continues."""
    ref = str(form.get("ref", ""))
    return ref if _REF.fullmatch(ref) else None


def is_permanent(form: FormData) -> bool:
    """Whether the answer was that the trash shall not keep the jobs."""
    return bool(form.get("permanent"))


def go_on(
    request: Request,
    heading: Text,
    *,
    action: str,
    fields: Fields,
    scanned: int,
    size: int,
    changed: int,
    back: str,
    here: str = "",
) -> Response:
    """The page between two steps of a long action; it sends its form by itself where it can.

    Args:
        action, fields: as of a question.
        scanned, size: how far it has come, and how far it has to go.
        changed: jobs that it has changed.
        back: address of a page without it.
    """
    return render(
        request,
        "progress.html",
        heading=heading,
        action=action,
        fields=fields,
        scanned=min(scanned, size),
        size=size,
        changed=changed,
        stop=back,
        here=here,
    )
