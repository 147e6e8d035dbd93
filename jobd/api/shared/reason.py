"""A reason why a job does not run, as all who explain it give it."""

from __future__ import annotations

from dataclasses import dataclass

from jobd.text.translatable import Text


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes:
        kind: for programs: ``paused``, ``not_obeyed``, ``no_process``, ``not_served``,
            ``all_quiet``, ``unknown_class``, ``busy``, ``order``, ``position``, ``scheduled``,
            ``retry``, ``late``, ``dead``, ``claimed``, ``orphaned``, ``silent``, ``running``,
            ``cancelling``, ``ended``, ``next``, ``lock``; and the kinds of
            :class:`~jobd.api.features.attached.Note`.
        text: a sentence for people. Where it says when, the value *at* stands in it, which a page
            fills in again for the time zone of its reader.
        advice: what to do about it; empty where there is nothing to do but wait.
        at: when that ends, or when it happened, seconds since 1970; None if nobody knows.
        blocks: it will not run before somebody does something.
    """

    kind: str
    text: Text
    advice: str = ""
    at: float | None = None
    blocks: bool = False
