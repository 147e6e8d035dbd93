"""The keys, for the help: of all pages, of lists, and of one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from textual.binding import Binding

from jobctl.top.table import Table
from jobctl.top.view import View
from jobd.api.actions import DELETION_ACTIONS, Action
from jobd.api.features.batch_actions import BATCH_ACTIONS
from jobd.api.features.workflow_actions import WORKFLOW_ACTIONS

T = TypeVar("T")

_EVERYWHERE = [
    ("1 ... 0", "the pages; also left, right and tab"),
    ("b, w, u, a", "batches, workflows, trash, audit log"),
    ("f", "find a job by its id, wherever it is"),
    ("r", "look again now"),
    ("U", "undo the last deletion"),
    ("esc", "back: end a search, leave a page"),
    ("?", "this help"),
    ("q, ^C", "quit"),
]

_LISTS = [
    ("j, k", "down, up; also the arrows, page up and down"),
    ("g, G", "to the first, to the last row"),
    ("enter", "open what the row stands for"),
]

_TEXTS = [("j, k, g", "scroll; also the arrows, page up and down")]


def _summary(action: Action[Callable[..., object]]) -> str:
    """What an action does, in the style of the others.

    >>> _summary(DELETION_ACTIONS["restore"])
    'undo a deletion'
    """
    text = str(action.summary).rstrip(".")
    return text[:1].lower() + text[1:]


_WORDS = {
    "search": "search: text, or class:NAME queue:NAME error:TEXT tag:TAG arg:VALUE older:2h",
    "filter": "show only rows with a text",
    "mark": "mark the row, or not any more; also space",
    "all": "mark all of the page; of jobs then all there are, then none",
    "turn(1)": "the next page",
    "turn(-1)": "the page before",
    "act('retry')": "put jobs into their queues now",
    "act('kill')": "move jobs to the dead set",
    "act('delete')": "delete jobs",
    "act('reschedule')": "give jobs another time",
    "act('move')": "move jobs to another queue",
    "act('quiet')": "take no more jobs",
    "act('stop')": "stop",
    "cancel": "cancel the job: interrupt it, or let it not run",
    "stacks": "what the threads are doing",
    "again": "ask again",
    "pause": "pause, or resume",
    "clear": "delete all jobs of the queue",
    "move": "move all jobs to another queue",
    "run": "push the job now, beside its ticks",
    "period": "another period",
    "empty": "make all deletions final",
    "restore": "put these jobs back where they were",
    **{f"batch('{name}')": _summary(one) for name, one in BATCH_ACTIONS.items()},
    **{f"workflow('{name}')": _summary(one) for name, one in WORKFLOW_ACTIONS.items()},
    **{f"deletion('{name}')": _summary(one) for name, one in DELETION_ACTIONS.items()},
}
"""What the actions of the pages do."""


def sections(page: View[T]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The keys of *page*, and those of all pages, by headings."""
    of_page = [
        (binding.key_display or binding.key, _WORDS[binding.action])
        for kind in reversed(type(page).__mro__)
        for binding in kind.__dict__.get("BINDINGS", ())
        if isinstance(binding, Binding) and binding.action in _WORDS and _has(page, binding.action)
    ]
    basic = _LISTS if page.query(Table) else _TEXTS
    return [(page.title, [*basic, *of_page]), ("Everywhere", _EVERYWHERE)]


def _has(page: View[T], action: str) -> bool:
    name, _, rest = action.partition("(")
    parameters = (rest.strip("')"),) if rest else ()
    return page.check_action(name, parameters) is not False
